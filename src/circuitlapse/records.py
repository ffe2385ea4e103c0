"""Lists and mappings that one job writes as JSON, with a digest, and that others read.

The audit of a hub keeps what it found in such files. Snakemake reads them for every job, so this
module imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from circuitlapse.errors import read_json, reading

CONTENT, DIGEST = "content", "sha256"
"""The only keys of such a file."""


def records_text(content: Any) -> str:
    """Return the text of a file; the same content always gives the same text.

    Args:
        content: lists, mappings with keys of text, text, numbers.
    """
    record = {CONTENT: content, DIGEST: _digest(content)}
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def read_content(path: str | Path) -> Any:
    """Return the content of a file with the text of `records_text`.

    Raises:
        ArtifactError: if the file is missing, or its content does not fit its digest.
    """
    with reading(path, "record"):
        record = read_json(path)
        if not isinstance(record, dict) or set(record) != {CONTENT, DIGEST}:
            raise ValueError("found no digest of its content")
        if record[DIGEST] != _digest(record[CONTENT]):
            raise ValueError("its content does not fit its digest")
    return record[CONTENT]


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """Return a list of records, such as one per checkpoint of an audit; see `read_content`.

    Raises:
        ArtifactError: also if it is no list of mappings.
    """
    content = read_content(path)
    with reading(path, "list of records"):
        if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
            raise TypeError(f"expected mappings, found {type(content).__name__}")
    return content


def known_records(path: str | Path) -> list[dict[str, Any]]:
    """Return the same, or an empty list where nothing is at `path`."""
    return read_records(path) if Path(path).exists() else []


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
