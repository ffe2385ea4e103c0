"""Cached activations on disk: one file per model, task and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from circuitlapse.errors import REMAKE, ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.models.activations import DIMS, SIDES, PairActivations, RunActivations

UNITS = {"pattern": "probability", "logits_end": "logits"}
EXACT = ("resid_end", "logits_end")
"""Always stored as float32: small, and every metric is computed from them."""


def write_activations(
    path: str | Path, activations: PairActivations, provenance: Mapping[str, str], *, dtype: str
) -> None:
    """Write both runs as `dtype` (`float32` or `float16`), all but the parts in `EXACT`.

    They are not compressed: most are deleted soon, and numbers like these hardly shrink.

    Raises:
        ArtifactError: if a value is NaN or infinite, or does not fit `dtype`; names the dataset
            and the first such prompt. No file is written.
    """
    datasets = {}
    for side in SIDES:
        for name, dims in DIMS.items():
            part = getattr(getattr(activations, side), name)
            stored = _stored(part, "float32" if name in EXACT else dtype, f"{path}: {side}/{name}")
            datasets[f"{side}/{name}"] = Dataset(stored, dims, UNITS.get(name, "residual stream"))
    write_hdf5(path, datasets, provenance, compress=False)


def _stored(part: Tensor, dtype: str, where: str) -> ndarray:
    exact = part.float().cpu().numpy()
    with np.errstate(over="ignore"):
        stored = exact.astype(dtype)
    if (prompt := _first_not_finite(exact)) is not None:
        raise ArtifactError(
            f"{where} is NaN or infinite, first at prompt {prompt} (counted from 0); the model "
            "itself computes that, so look at how it was trained and at compute.dtype"
        )
    if (prompt := _first_not_finite(stored)) is not None:
        largest = np.abs(exact[prompt]).max()
        raise ArtifactError(
            f"{where} does not fit {dtype}, first at prompt {prompt} (counted from 0) with values "
            f"up to {largest:.3g}; set activations.dtype to float32"
        )
    return stored


def _first_not_finite(values: ndarray) -> int | None:
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    return int(bad[0]) if bad.size else None


def read_activations(
    path: str | Path, *, device: str, dtype: torch.dtype, inputs: Mapping[str, str]
) -> PairActivations:
    """Read both runs, and check that they belong to this model and task.

    Args:
        path: written by `write_activations`.
        device: where the tensors go.
        dtype: of the tensors, whatever the file was stored as.
        inputs: the expected `weights` and `task` hashes.

    Raises:
        ArtifactError: if a dataset is missing or has other axes, or the file was made from
            other weights or another task.
    """
    wanted = {f"{side}/{name}": dims for side in SIDES for name, dims in DIMS.items()}
    arrays, attributes = read_hdf5(path, wanted)
    for name, expected in inputs.items():
        found = attributes.get(f"{name}_hash")
        if found != expected:
            raise ArtifactError(
                f"{path}: made from {name} with hash {found}, expected {expected}; {REMAKE}"
            )
    return PairActivations(
        *(
            RunActivations(
                *(
                    torch.from_numpy(arrays[f"{side}/{field.name}"]).to(device, dtype)
                    for field in fields(RunActivations)
                )
            )
            for side in SIDES
        )
    )
