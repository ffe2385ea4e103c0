"""Where a result comes from: what went in, which code, which libraries."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import circuitlapse
from circuitlapse.errors import (
    REMAKE,
    ArtifactError,
    UnknownNameError,
    read_json,
    reading,
    require_file,
    unknown_name,
)
from circuitlapse.models.snapshot import CONFIG, weight_files

PROVENANCE = "provenance.json"
"""The record in the folder of a model or a corpus."""
FILES, DIGEST = "files", "digest"
"""In a record: SHA-256 of the files beside it, by name; SHA-256 of all the rest of the record."""
ORIGIN_KEYS = ("repo", "revision", "commit", "folder")
VERIFICATION_KEYS = ("judge", "step", "n_prompts", "difference")
LIBRARIES = ("torch", "safetensors", "tokenizers", "numpy", "scipy", "pandas", "h5py")
"""Libraries whose versions every result carries."""
MORE_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "training": ("transformers",),
    "verification": ("transformers", "transformer-lens"),
}
"""Stages that use further ones."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "corpus": ("pocket.corpus", "io.corpus_files"),
    "training": ("pocket",),
    "fetching": ("hub.fetch",),
    "weights": ("io.weight_files",),
    "verification": ("models.verify",),
    "prompts": ("tasks", "io.task_files"),
    "activations": ("checkpoint", "models", "io.activation_files", "schemas"),
    "circuits": (
        "checkpoint",
        "circuits.discovery",
        "models",
        "io.activation_files",
        "io.circuit_files",
    ),
    "heads": ("checkpoint", "heads", "models", "io.activation_files", "schemas"),
    "algorithm": ("checkpoint", "heads.algorithm", "models", "io.activation_files", "schemas"),
    "transfer": ("checkpoint", "exchange.transfer", "models", "schemas"),
    "swaps": ("checkpoint", "exchange.swaps", "exchange.head_sets", "models", "schemas"),
    "published": ("io.clone", "io.circuit_files", "schemas"),
    "tables": ("tables", "tables.reproduction", "schemas"),
}
"""The stages that write results -> the modules that they call, below `circuitlapse`.

A package stands for every module directly in it. What these modules import belongs to the stage,
too, so only entry points are listed.
"""
HOME = Path(circuitlapse.__file__).parent
NOT_CODE = ("settings",)
"""Left out, with what it imports: the values of the settings are in the key themselves."""
NOT_FOLLOWED = ("checkpoint.py",)
"""Hashed without what it imports, because that is the code of all stages."""


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a value made of plain lists, mappings, text and numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        _hashed[_identity(os.fstat(stream.fileno()))] = digest
    return digest


def known_hash(path: str | Path) -> str:
    """Return what `file_hash` returns; a file that this process has hashed is not read again.

    A new name of the file does not matter. It counts as the same while size and time are.
    """
    return _hashed.get(_identity(Path(path).stat())) or file_hash(path)


_hashed: dict[tuple[int, ...], str] = {}
"""The SHA-256 of files that this process has read."""


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def weights_hash(folder: str | Path) -> str:
    """Return one SHA-256 of a model folder's weights and of how they are to be read.

    The same weights with another number of heads are another model.

    Raises:
        ArtifactError: if a file is missing, or has changed since the folder was made.
    """
    names = [CONFIG, *weight_files(folder)]
    return hash_of([[name, checked_hash(Path(folder) / name)] for name in names])


def checked_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file that a job made with a record beside it.

    Raises:
        ArtifactError: if the file is missing, or is not as the record (`FILES`) says.
    """
    path = Path(path)
    require_file(path)
    digest, recorded = file_hash(path), read_record(path.parent).get(FILES, {})
    if recorded.get(path.name, digest) != digest:
        raise ArtifactError(
            f"{path}: damaged: expected SHA-256 {recorded[path.name]}, found {digest}; {REMAKE}"
        )
    return digest


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return what `write_provenance` wrote into a folder; empty if it has no record of ours.

    Raises:
        ArtifactError: if the record is damaged.
    """
    path = Path(folder) / PROVENANCE
    return _checked(path, strict=False) if os.path.lexists(path) else {}


def _checked(path: Path, *, strict: bool) -> dict[str, Any]:
    """Return a record that `write_provenance` wrote.

    Another file of the same name is refused if `strict`, and an empty record otherwise.
    """
    with reading(path, "record"):
        record: dict[str, Any] = read_json(path)
        if not strict and not {DIGEST, "code_hash"} & set(record):
            return {}
        if record.pop(DIGEST, None) != hash_of(record):
            raise ValueError("its content does not fit its digest")
        for part in ("settings", FILES):
            if not isinstance(record.get(part, {}), dict):
                raise ValueError(f"expected a mapping under {part!r}")
    return record


@cache
def code_hash(stage: str, home: Path = HOME) -> str:
    """Return the SHA-256 of the source files in `code_of`, with their names."""
    files = sorted(code_of(stage, home))
    return hash_of([[str(file.relative_to(home)), file_hash(file)] for file in files])


def code_of(stage: str, home: Path = HOME) -> set[Path]:
    """Return the source files of a stage: its modules in `STAGES` and all that they import.

    Args:
        stage: its name.
        home: the folder of the package `circuitlapse`.

    Raises:
        UnknownNameError: if there is no such stage.
    """
    if stage not in STAGES:
        raise UnknownNameError(unknown_name("stage", stage, STAGES))
    found: set[Path] = set()
    waiting = [file for entry in STAGES[stage] for file in _files_of(entry, home)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            if str(file.relative_to(home)) in NOT_FOLLOWED:
                continue
            used = _imported(file, home)
            waiting += [one for one in used if one.relative_to(home).parts[0] not in NOT_CODE]
    return found


def _files_of(entry: str, home: Path) -> list[Path]:
    path = home.joinpath(*entry.split("."))
    return list(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imported(file: Path, home: Path) -> Iterator[Path]:
    """Yield the source files below `home` that a module imports, wherever in it."""
    for name in _imported_names(file, home):
        top, *parts = name.split(".")
        if top == "circuitlapse":
            # importing a.b runs a/__init__.py, too; the package itself only imports lazily
            packages = [home.joinpath(*parts[: n + 1], "__init__.py") for n in range(len(parts))]
            module = home.joinpath(*parts).with_suffix(".py") if parts else home
            yield from (path for path in (*packages, module) if path.is_file())


def _imported_names(file: Path, home: Path) -> Iterator[str]:
    """Yield dotted names; of `from a import b` both a and a.b, which may be a module."""
    package = ".".join(("circuitlapse", *file.relative_to(home).parent.parts))
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def provenance(
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    *,
    stage: str,
    script: str | Path | None = None,
) -> dict[str, str]:
    """Return what a result file carries, as text attributes.

    Args:
        inputs: hashes of what was read, by name.
        settings: every value that shaped the result, seeds included.
        stage: what made the result; a name in `STAGES`.
        script: the file that ran the stage, if it is not in the library. Snakemake gives an
            address, with the tag or branch, where the workflow was deployed from one.

    Returns:
        The inputs, the settings as JSON, code and library versions, and `key`: a hash of all
        of them. Two results with the same key hold the same numbers.
    """
    record = {f"{name}_hash": digest for name, digest in inputs.items()}
    record["settings"] = json.dumps(settings, sort_keys=True)
    record["circuitlapse"] = version("circuitlapse")
    record["code_hash"] = code_hash(stage)
    if script is not None:
        address = "://" in str(script)
        record["script_hash"] = hash_of(str(script)) if address else file_hash(script)
    libraries = (*LIBRARIES, *MORE_LIBRARIES.get(stage, ()))
    record |= {name.replace("-", "_"): version(name) for name in libraries}
    return record | {"key": hash_of(record)}


def notes_on(folder: str | Path, verified: str | Path | None = None) -> dict[str, str]:
    """Return what a result says of its model beside its key: its origin and its verification.

    They are not in the key: the same weights from another place are the same model.

    Args:
        folder: of the model. One that was trained here, or is without a record, has no origin.
        verified: the record of `verify_model`, if there is one.

    Returns:
        Repo, revision and commit on a hub, or a folder; the library that the model was compared
        with, the step, the number of prompts and the largest difference of two logits.

    Raises:
        ArtifactError: if a record is damaged, or that of `verify_model` is missing.
    """
    origin = read_record(folder).get("settings", {})
    found = _checked(Path(verified), strict=True) if verified else {}
    known = [name for name in ORIGIN_KEYS if isinstance(origin.get(name), str)]
    notes = {f"model_{name}": origin[name] for name in known}
    return notes | {
        f"verified_{name}": str(found[name]) for name in VERIFICATION_KEYS if name in found
    }


def write_provenance(
    path: str | Path, record: Mapping[str, Any], files: Iterable[str | Path] = ()
) -> None:
    """Write what `provenance` returned as JSON; the same record gives the same bytes.

    Args:
        path: of the record.
        record: what `provenance` returned.
        files: that will lie beside the record, and that `checked_hash` is to check.
    """
    readable = {**record, "settings": json.loads(record["settings"])}
    if found := {Path(file).name: file_hash(file) for file in files}:
        readable[FILES] = found
    readable[DIGEST] = hash_of(readable)
    text = json.dumps(readable, indent=2, sort_keys=True)
    Path(path).write_text(f"{text}\n", encoding="utf-8")
