"""Where a result comes from: what went in, which code, which libraries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import circuitlapse
from circuitlapse.models.snapshot import CONFIG, weight_files

PROVENANCE = "provenance.json"
"""In the folder of a model."""
PUBLISHED_BY = ("repo", "revision", "commit", "folder")
LIBRARIES = ("torch", "transformers", "transformer-lens", "numpy", "h5py")


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a value made of plain lists, mappings, text and numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: str | Path) -> str:
    """Return one SHA-256 of a model folder's weights and of how they are to be read.

    The same weights with another number of heads are another model.
    """
    names = [CONFIG, *weight_files(folder)]
    return hash_of([[name, file_hash(Path(folder) / name)] for name in names])


@cache
def code_hash() -> str:
    """Return the SHA-256 of this package's source files."""
    home = Path(circuitlapse.__file__).parent
    files = sorted(home.rglob("*.py"))
    return hash_of([[str(file.relative_to(home)), file_hash(file)] for file in files])


def provenance(inputs: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what a result file carries, as text attributes.

    Args:
        inputs: hashes of what was read, by name.
        settings: every value that shaped the result, seeds included.

    Returns:
        The inputs, the settings as JSON, code and library versions, and `key`: a hash of all
        of them. Two results with the same key hold the same numbers.
    """
    record = {f"{name}_hash": digest for name, digest in inputs.items()}
    record["settings"] = json.dumps(settings, sort_keys=True)
    record["circuitlapse"] = version("circuitlapse")
    record["code_hash"] = code_hash()
    record |= {name.replace("-", "_"): version(name) for name in LIBRARIES}
    return record | {"key": hash_of(record)}


def published_as(folder: str | Path) -> dict[str, str]:
    """Return where a model came from: repo, revision and commit on a hub, or a folder.

    A model that was trained here came from nowhere, nor does one that does not say. This goes
    beside a result's key, not into it: the same weights are the same model, wherever they were.
    """
    path = Path(folder) / PROVENANCE
    said = json.loads(path.read_text(encoding="utf-8"))["settings"] if path.is_file() else {}
    return {f"model_{name}": said[name] for name in PUBLISHED_BY if name in said}


def write_provenance(path: str | Path, record: Mapping[str, str]) -> None:
    """Write what `provenance` returned as JSON; the same record gives the same bytes."""
    readable = {**record, "settings": json.loads(record["settings"])}
    text = json.dumps(readable, indent=2, sort_keys=True)
    Path(path).write_text(f"{text}\n", encoding="utf-8")
