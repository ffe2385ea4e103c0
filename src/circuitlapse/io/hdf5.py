"""HDF5 files whose datasets name their axes and units.

No file is locked, because file systems such as Lustre and NFS can lack locks. It is safe: a file is
written under a name of its own, and does not change once it has its final name (`atomic_path`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy import ndarray

from circuitlapse.errors import REMAKE, ArtifactError, reading
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.seal import ROOM, check_seal, seal

_USER_BLOCK = 512
"""Bytes at the start of the file that HDF5 leaves to us. They hold the digest of the content."""
_IN_MEMORY = 256 * 2**20
"""Bytes of arrays up to which a file is made in memory first."""
_MOST_EXPANSION = 1100
"""Bytes that one byte of a file can stand for; the compression reaches 1032."""
_PLAIN = (str, int, float, np.integer, np.floating, np.bool_)
"""What an attribute may be."""


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
    """Write datasets and file attributes; the file is complete or absent.

    Args:
        path: of the file.
        datasets: by name.
        attributes: of the file.
        compress: compress, in chunks along the first axis. Writing takes thirty times as long, so
            files that are soon deleted are better left uncompressed.

    Raises:
        ArtifactError: if an array has another number of axes than its `dims`, or the file cannot be
            written; see `atomic_path`.
    """
    for name, dataset in datasets.items():
        if dataset.values.ndim != len(dataset.dims):
            found = f"expected axes {dataset.dims}, found shape {dataset.values.shape}"
            raise ArtifactError(f"{path}: {name}: {found}")
    with atomic_path(path) as scratch:
        # made in memory, because HDF5 cannot close a file on a disk that is full
        is_small = sum(dataset.values.nbytes for dataset in datasets.values()) <= _IN_MEMORY
        place = BytesIO() if is_small else scratch
        try:
            with _open(place, "w", userblock_size=_USER_BLOCK) as file:
                file.attrs.update(attributes)
                for name, dataset in datasets.items():
                    _write(file, name, dataset, compress=compress)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if isinstance(place, BytesIO):
            scratch.write_bytes(place.getbuffer())
        with scratch.open("r+b") as stream:
            stream.write(ROOM.ljust(_USER_BLOCK, b"\n"))
        seal(scratch)


def _open(place: str | Path | BytesIO, mode: str = "r", **how: Any) -> h5py.File:
    if not isinstance(place, BytesIO):
        how["locking"] = False
    return h5py.File(place, mode, libver="latest", **how)


def _write(file: h5py.File, name: str, dataset: Dataset, *, compress: bool) -> None:
    values = dataset.values
    compression = {}
    if compress and values.ndim and values.size:
        compression = {
            "chunks": (1, *values.shape[1:]) if values.ndim > 1 else values.shape,
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
        }
    stored = file.create_dataset(name, data=values, track_times=False, **compression)
    for axis, label in enumerate(dataset.dims):
        stored.dims[axis].label = label
    stored.attrs["unit"] = dataset.unit


def read_hdf5(
    path: str | Path,
    dims: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str] | None = None,
    *,
    optional: Collection[str] = (),
) -> tuple[dict[str, ndarray], dict[str, Any]]:
    """Return the datasets named in `dims`, and the attributes of the file.

    Args:
        path: of the file.
        dims: the axes of each dataset. Datasets that share an axis must agree about its length.
        kinds: NumPy's letters for the kinds of number that a dataset may hold, such as "iu" for
            whole numbers; without an entry, any.
        optional: datasets that may be missing.

    Raises:
        ArtifactError: if the file is missing or damaged, or a dataset is missing, lies outside of
            the file, announces more than the file can hold, or has other axes or numbers.
    """
    check_seal(path)
    with reading(path, "HDF5 file"), _open(path) as file:
        wanted = {name: tuple(axes) for name, axes in dims.items()}
        there = [name for name in wanted if name in file or name not in optional]
        arrays = {name: _read(file, name, wanted[name], (kinds or {}).get(name)) for name in there}
        _check_lengths(path, arrays, wanted)
        return arrays, {name: _plain(path, name, value) for name, value in file.attrs.items()}


def _read(file: h5py.File, name: str, dims: tuple[str, ...], kinds: str | None) -> ndarray:
    where = f"{file.filename}: {name}"
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ArtifactError(
            f"{file.filename}: no dataset {name!r}; found {', '.join(file) or 'none'}"
        )
    stored = file[name]
    if not isinstance(stored, h5py.Dataset) or stored.external or stored.is_virtual:
        raise ArtifactError(f"{where}: expected a dataset inside of the file")
    found = tuple(dim.label for dim in stored.dims)
    if found != dims:
        raise ArtifactError(f"{where}: expected axes {dims}, found {found}")
    if stored.dtype.kind not in (kinds or "fiubS"):
        raise ArtifactError(f"{where}: found values of type {stored.dtype}; {REMAKE}")
    if stored.nbytes > _MOST_EXPANSION * Path(file.filename).stat().st_size:
        raise ArtifactError(f"{where}: announces {stored.nbytes} bytes, more than can be in it")
    return np.asarray(stored[()])


def _check_lengths(
    path: str | Path, arrays: Mapping[str, ndarray], dims: Mapping[str, Sequence[str]]
) -> None:
    """Refuse datasets that disagree about the length of an axis."""
    first: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        for axis, length in zip(dims[name], array.shape, strict=True):
            expected, other = first.setdefault(axis, (length, name))
            if length != expected:
                raise ArtifactError(
                    f"{path}: {name}: found {length} entries along {axis}, expected {expected} as "
                    f"in {other}; {REMAKE}"
                )


def _plain(path: str | Path, name: str, value: Any) -> Any:
    """Return an attribute, which must be text or a number."""
    if not isinstance(value, _PLAIN):
        raise ArtifactError(
            f"{path}: attribute {name}: found {type(value).__name__}, expected text or a number"
        )
    return value


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Return the attributes of a file.

    Raises:
        ArtifactError: if the file is missing or damaged.
    """
    return read_hdf5(path, {})[1]
