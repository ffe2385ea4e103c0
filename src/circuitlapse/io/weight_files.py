"""Fingerprints of weights: made of a folder, and kept on disk when the checkpoint is deleted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from circuitlapse.errors import reading
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.io.provenance import provenance
from circuitlapse.models.contents import WeightFile
from circuitlapse.models.fingerprint import N_SAMPLED, Fingerprint
from circuitlapse.models.load import open_folder
from circuitlapse.models.snapshot import INDEX_SUFFIX, weight_files

DIMS = {
    "names": ("weight",),
    "shapes": ("weight",),
    "norms": ("weight",),
    "samples": ("weight", "entry"),
}
TEXT = ("names", "shapes")
KINDS = {"names": "S", "shapes": "S", "norms": "f", "samples": "f"}


def fingerprint(folder: str | Path, where: Mapping[str, Any]) -> Fingerprint:
    """Read every weight of a model folder once, one at a time.

    Args:
        folder: laid out like a hub snapshot.
        where: model, variant, step and tokens.

    Raises:
        ModelError: if a weight is missing, unexpected or of another shape; see `load_decoder`.
    """
    folder = Path(folder)
    names, shapes, norms, samples = [], [], [], []
    with open_folder(folder) as opened:
        for name in sorted(n for n in opened.shapes if not re.search(opened.family.ignored, n)):
            weight = opened.read(name).float().numpy().ravel()
            names.append(name)
            shapes.append("x".join(map(str, opened.shapes[name])))
            norms.append(float(np.linalg.norm(weight.astype(np.float64))))
            samples.append(weight[_places(name, len(weight))])
    return Fingerprint(
        where,
        tuple(_file(folder / name) for name in weight_files(folder) if INDEX_SUFFIX not in name),
        tuple(names),
        tuple(shapes),
        np.array(norms),
        np.stack(samples),
    )


def _file(path: Path) -> WeightFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return WeightFile(path.name, digest, path.stat().st_size)


def _places(name: str, size: int) -> Int64[ndarray, " entry"]:
    """Return which entries of a weight are in the sample: always the same for its name."""
    if size <= N_SAMPLED:
        return np.arange(N_SAMPLED) % size
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    places: ndarray = np.random.default_rng(seed).integers(0, size, N_SAMPLED)
    return places


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
    arrays, attributes = read_hdf5(path, DIMS, KINDS)
    with reading(path, "fingerprint of this version"):
        names, shapes = (tuple(text.decode() for text in arrays[name].tolist()) for name in TEXT)
        where = dict(json.loads(attributes["where"]))
        listed = tuple(WeightFile(*file) for file in json.loads(attributes["files"]))
    return Fingerprint(where, listed, names, shapes, arrays["norms"], arrays["samples"])
