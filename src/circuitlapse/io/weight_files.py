"""Fingerprints of weights on disk: one small file per model and step, kept after the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from circuitlapse.errors import REMAKE, ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.io.provenance import provenance
from circuitlapse.models.contents import WeightFile
from circuitlapse.models.fingerprint import Fingerprint, fingerprint

DIMS = {
    "names": ("weight",),
    "shapes": ("weight",),
    "norms": ("weight",),
    "samples": ("weight", "entry"),
}
TEXT = ("names", "shapes")


def keep_fingerprint(folder: str | Path, path: str | Path, where: Mapping[str, Any]) -> None:
    """Write the fingerprint of a model folder; see `fingerprint`."""
    found = fingerprint(folder, where)
    inputs = {file.name: file.hash for file in found.files}
    write_fingerprint(path, found, provenance(inputs, {"where": where}, stage="weights"))


def write_fingerprint(path: str | Path, found: Fingerprint, provenance: Mapping[str, str]) -> None:
    """Write a fingerprint with its provenance."""
    arrays = {name: getattr(found, name) for name in DIMS}
    datasets = {
        name: Dataset(np.array(array, dtype="S") if name in TEXT else array, DIMS[name])
        for name, array in arrays.items()
    }
    files = [[file.name, file.hash, file.n_bytes] for file in found.files]
    about = {"where": json.dumps(dict(found.where)), "files": json.dumps(files)}
    write_hdf5(path, datasets, {**provenance, **about})


def read_fingerprint(path: str | Path) -> Fingerprint:
    """Read a fingerprint.

    Raises:
        ArtifactError: if the file is missing, broken or of another version.
    """
    arrays, attributes = read_hdf5(path, DIMS)
    names, shapes = (tuple(text.decode() for text in arrays[name].tolist()) for name in TEXT)
    try:
        where, files = json.loads(attributes["where"]), json.loads(attributes["files"])
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: not a fingerprint of this version; {REMAKE}") from error
    listed = tuple(WeightFile(*file) for file in files)
    return Fingerprint(where, listed, names, shapes, arrays["norms"], arrays["samples"])


def read_records(path: str | Path) -> Sequence[Mapping[str, Any]]:
    """Return the records of an audit of the hub, with what names their checkpoints in tables."""
    records: list[Mapping[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))
    return records
