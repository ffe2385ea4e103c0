"""Cached activations on disk: one file per model, task and step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from circuitlapse.errors import REMAKE, ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.models.activations import DIMS, SIDES, PairActivations, RunActivations
from circuitlapse.models.memory import memory_for

UNITS = {"pattern": "probability", "logits_end": "logits"}
EXACT = ("resid_end", "logits_end")
"""Always stored as float32: they are small, and every metric is computed from them."""


def write_activations(
    path: str | Path, activations: PairActivations, provenance: Mapping[str, str], *, dtype: str
) -> None:
    """Write the activations of the clean and the corrupted run.

    The file is not compressed: activations hardly shrink, and most files are soon deleted.

    Args:
        path: of the file.
        activations: of both runs.
        provenance: attributes of the file.
        dtype: `float32` or `float16`, for all parts but those in `EXACT`.

    Raises:
        ArtifactError: if a value is NaN or infinite, or too large for `dtype`; names the dataset
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
            f"{where}: found NaN or infinity, first at prompt {prompt} (counting from 0); the "
            "model computes it, so check the training of the model and compute.dtype"
        )
    if (prompt := _first_not_finite(stored)) is not None:
        largest = np.abs(exact[prompt]).max()
        raise ArtifactError(
            f"{where}: found values up to {largest:.3g}, too large for {dtype}, first at prompt "
            f"{prompt} (counting from 0); set activations.dtype to float32"
        )
    return stored


def _first_not_finite(values: ndarray) -> int | None:
    """Return the first index along the first axis, the prompts, with NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    return int(bad[0]) if bad.size else None


def read_activations(
    path: str | Path, *, device: str, dtype: torch.dtype, inputs: Mapping[str, str]
) -> PairActivations:
    """Read the activations of both runs, and check that they belong to this model and task.

    Args:
        path: written by `write_activations`.
        device: of the tensors.
        dtype: of the tensors; may differ from that in the file.
        inputs: the expected hashes, by `weights` and `task`.

    Raises:
        ArtifactError: if a dataset is missing or has other axes, or the file was made from
            other weights or another task.
        DeviceMemoryError: if they do not fit into the memory of the device.
    """
    wanted = {f"{side}/{name}": dims for side in SIDES for name, dims in DIMS.items()}
    arrays, attributes = read_hdf5(path, wanted, dict.fromkeys(wanted, "f"))
    for name, expected in inputs.items():
        found = attributes.get(f"{name}_hash")
        if found != expected:
            raise ArtifactError(
                f"{path}: expected {name} with hash {expected}, found {found}; {REMAKE}"
            )
    with memory_for(f"the activations in {path}"):
        parts = {name: torch.from_numpy(array).to(device, dtype) for name, array in arrays.items()}
    clean, corrupted = (
        RunActivations(**{name: parts[f"{side}/{name}"] for name in DIMS}) for side in SIDES
    )
    return PairActivations(clean, corrupted)
