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
from circuitlapse.snapshots import CONFIG, weight_files

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


def write_provenance(path: str | Path, record: Mapping[str, str]) -> None:
    """Write what `provenance` returned as JSON; the same record gives the same bytes."""
    readable = {**record, "settings": json.loads(record["settings"])}
    text = json.dumps(readable, indent=2, sort_keys=True)
    Path(path).write_text(f"{text}\n", encoding="utf-8")
