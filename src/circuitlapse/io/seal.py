"""A digest inside a file, of all of that file: no changed bit is ever read as a number.

The writer leaves room for the digest, `ROOM`, at one place in the file; `seal` fills it. The digest
is the SHA-256 of the file with the room still empty. It protects from damage, not from an attacker.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from circuitlapse.errors import REMAKE, ArtifactError, require_file

_MARK = b"circuitlapse sha256 "
_EMPTY = b"0" * 64
ROOM = _MARK + _EMPTY
"""What the writer puts into the file, as bytes or as ASCII text."""

_log = logging.getLogger(__name__)


def seal(path: str | Path) -> None:
    """Fill the room for the digest in a file that was just written.

    Raises:
        ArtifactError: if the file does not have the room exactly once.
    """
    with Path(path).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        place = content.find(ROOM)
        if place < 0 or content.find(_MARK, place + 1) >= 0:
            raise ArtifactError(f"{path}: expected room for one digest of the content")
        place += len(_MARK)
        content[place : place + len(_EMPTY)] = _digest(content, place)


def check_seal(path: str | Path) -> None:
    """Check that a file is as it was when it was sealed.

    Raises:
        ArtifactError: if there is no file at `path`, it has no digest, or any byte has changed.
    """
    require_file(path)
    try:
        with Path(path).open("rb") as stream:
            found = _intact(stream.fileno()) if stream.seek(0, 2) else None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    if found is None:
        raise ArtifactError(
            f"{path}: incomplete, or of another version: found no digest of its content; {REMAKE}"
        )
    if not found:
        raise ArtifactError(f"{path}: damaged: its content does not fit its digest; {REMAKE}")


def holds(path: str | Path, key: str, read: Callable[[str | Path], Mapping[str, Any]]) -> bool:
    """Return whether a file of an earlier attempt is whole, and what would be made now.

    Whatever else is at `path`, the caller makes the file again, and the log says so.

    Args:
        path: of the file.
        key: of the provenance that the file would have now.
        read: returns the provenance of a file, and checks all of its content.
    """
    if not os.path.lexists(path):
        return False
    try:
        return bool(read(path).get("key") == key)
    except ArtifactError as error:
        _log.warning("%s; made again", str(error).removesuffix(f"; {REMAKE}"))
        return False


def digest_in(path: str | Path) -> str | None:
    """Return the digest that stands in a file, without checking it; None if there is none."""
    with Path(path).open("rb") as stream:
        if not stream.seek(0, 2):
            return None
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(_MARK)
            if place < 0:
                return None
            place += len(_MARK)
            return content[place : place + len(_EMPTY)].decode("ascii", "replace")


def _intact(descriptor: int) -> bool | None:
    """Return whether the digest fits; None if there is no digest."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        place = content.find(_MARK)
        if place < 0:
            return None
        place += len(_MARK)
        return content[place : place + len(_EMPTY)] == _digest(content, place)


def _digest(content: mmap.mmap, place: int) -> bytes:
    """Return the digest of a file as if the room at `place` were empty."""
    digest = hashlib.sha256()
    with memoryview(content) as view:
        digest.update(view[:place])
        digest.update(_EMPTY)
        digest.update(view[place + len(_EMPTY) :])
    return digest.hexdigest().encode()
