"""HDF5 files whose datasets say what their axes and units are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy import ndarray

from circuitlapse.errors import REMAKE, ArtifactError, require_file
from circuitlapse.io.atomic import atomic_path


@dataclass(frozen=True, eq=False)
class Dataset:
    """An array with the name of each axis and the unit of its values ("" for none)."""

    values: ndarray
    dims: tuple[str, ...]
    unit: str = ""


def write_hdf5(
    path: str | Path,
    datasets: Mapping[str, Dataset],
    attributes: Mapping[str, Any],
    *,
    compress: bool = True,
) -> None:
    """Write a file that is whole or absent.

    Args:
        path: of the file.
        datasets: by name.
        attributes: of the file.
        compress: pack it, in chunks along the first axis. That takes thirty times as long as
            writing it as it is, so it does not pay for files that are soon deleted.
    """
    with atomic_path(path) as scratch, h5py.File(scratch, "w", libver="latest") as file:
        file.attrs.update(attributes)
        for name, dataset in datasets.items():
            _write(file, name, dataset, compress=compress)


def _write(file: h5py.File, name: str, dataset: Dataset, *, compress: bool) -> None:
    values = dataset.values
    if values.ndim != len(dataset.dims):
        raise ArtifactError(
            f"{file.filename}: {name} has shape {values.shape}, but its axes are {dataset.dims}"
        )
    packing = {}
    if compress and values.ndim and values.size:
        packing = {
            "chunks": (1, *values.shape[1:]) if values.ndim > 1 else values.shape,
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
        }
    stored = file.create_dataset(name, data=values, track_times=False, **packing)
    for axis, label in enumerate(dataset.dims):
        stored.dims[axis].label = label
    stored.attrs["unit"] = dataset.unit


def read_hdf5(
    path: str | Path, dims: Mapping[str, Sequence[str]]
) -> tuple[dict[str, ndarray], dict[str, Any]]:
    """Return the datasets named in `dims` and the attributes of the file.

    Raises:
        ArtifactError: naming the file and the dataset that is missing, or whose axes or
            number type are not the expected ones.
    """
    require_file(path)
    try:
        with h5py.File(path) as file:
            arrays = {name: _read(file, name, tuple(axes)) for name, axes in dims.items()}
            return arrays, dict(file.attrs)
    except OSError as error:
        raise ArtifactError(f"{path}: not a readable HDF5 file: {error}; {REMAKE}") from error


def _read(file: h5py.File, name: str, dims: tuple[str, ...]) -> ndarray:
    if name not in file:
        raise ArtifactError(
            f"{file.filename}: no dataset {name!r}; found {', '.join(file) or 'none'}"
        )
    found = tuple(dim.label for dim in file[name].dims)
    if found != dims:
        raise ArtifactError(f"{file.filename}: {name} has axes {found}, expected {dims}")
    return np.asarray(file[name][()])


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Return the attributes of a file, or nothing when there is no readable file."""
    try:
        with h5py.File(path) as file:
            return dict(file.attrs)
    except OSError:
        return {}
