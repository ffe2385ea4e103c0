"""What is kept of the weights of a checkpoint after it is deleted: norms, and a sample.

The sample has the same entries of every matrix at every step, so the cosine of two steps is that of
their samples. With n entries its standard error is at most 1 / sqrt(n), and smaller the closer the
cosine is to 1 or -1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.models.contents import WeightFile

N_SAMPLED = 1024
"""Entries of each weight in the sample."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of one checkpoint.

    Attributes:
        where: model, variant, step and tokens, as in every table.
        files: its weight files.
        names: of the weights, in order.
        shapes: of the weights, such as "64x64".
        norms: of the weights (Frobenius).
        samples: some entries of every weight; those of a small one are repeated.
    """

    where: Mapping[str, Any]
    files: tuple[WeightFile, ...]
    names: tuple[str, ...]
    shapes: tuple[str, ...]
    norms: Float[ndarray, " weight"]
    samples: Float[ndarray, "weight entry"]

    @property
    def content(self) -> str:
        """SHA-256 of all of this but place and files: equal for equal weights in any file."""
        digest = hashlib.sha256("\n".join((*self.names, *self.shapes)).encode())
        digest.update(self.norms.tobytes())
        digest.update(self.samples.tobytes())
        return digest.hexdigest()


def cosines(one: Fingerprint, other: Fingerprint) -> Float[ndarray, " weight"]:
    """Return the cosine between each weight of two checkpoints; NaN for a weight of zeros.

    It is NaN, too, where the other one has no such weight.
    """
    place = {name: index for index, name in enumerate(other.names)}
    rows = [place.get(name, -1) for name in one.names]
    known = np.array(rows) >= 0
    a, b = one.samples.astype(np.float64), other.samples[rows].astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    defined = known & (lengths > 0)
    found = np.full(len(rows), np.nan)
    found[defined] = (a * b).sum(1)[defined] / lengths[defined]
    limited: ndarray = np.clip(found, -1.0, 1.0)
    return limited


def matrices(one: Fingerprint) -> Sequence[int]:
    """Return the places of the weights that are matrices."""
    return [index for index, shape in enumerate(one.shapes) if shape.count("x") == 1]
