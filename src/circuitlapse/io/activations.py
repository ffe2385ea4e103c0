"""Cached activations on disk: one file per model, task and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from circuitlapse.activations import DIMS, PairActivations, RunActivations
from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5

SIDES = ("clean", "corrupted")
UNITS = {"pattern": "probability", "logits_end": "logits"}


def write_activations(
    path: str | Path, activations: PairActivations, provenance: Mapping[str, str], *, dtype: str
) -> None:
    """Write both runs as `dtype` (`float32` or `float16`)."""
    datasets = {
        f"{side}/{name}": Dataset(
            getattr(getattr(activations, side), name).float().cpu().numpy().astype(dtype),
            dims,
            UNITS.get(name, "residual stream"),
        )
        for side in SIDES
        for name, dims in DIMS.items()
    }
    write_hdf5(path, datasets, provenance)


def read_activations(
    path: str | Path, *, device: str, dtype: torch.dtype, inputs: Mapping[str, str]
) -> PairActivations:
    """Read both runs, and check that they belong to this model and task.

    Args:
        path: written by `write_activations`.
        device: where the tensors go.
        dtype: of the tensors.
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
                f"{path}: made from {name} with hash {found}, expected {expected}; "
                "delete the file and run the workflow again"
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
