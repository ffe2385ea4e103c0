"""What can happen to a file or folder that a run has made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

BLOCK = 512
"""Bytes of a sector of a disk."""


def clear(path: Path) -> None:
    """Remove whatever is at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def truncate(path: Path, rng: Random) -> None:
    """Keep a first part of the file."""
    _write(path, path.read_bytes()[: rng.randrange(1, path.stat().st_size)])


def empty(path: Path, rng: Random) -> None:
    """Keep no byte of the file."""
    _write(path, b"")


def flip(path: Path, rng: Random) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _write(path, content)


def zero_block(path: Path, rng: Random) -> None:
    """Set one sector, or all of a shorter file, to zero; it was not before."""
    content = path.read_bytes()
    starts = range(0, max(1, len(content) - BLOCK))
    start = rng.choice([at for at in starts if any(content[at : at + BLOCK])])
    _write(path, (content[:start] + bytes(BLOCK) + content[start + BLOCK :])[: len(content)])


def junk(path: Path, rng: Random) -> None:
    """Put other bytes in its place."""
    clear(path)
    path.write_bytes(rng.randbytes(1000))


def remove(path: Path, rng: Random) -> None:
    """Put nothing in its place."""
    clear(path)


def folder(path: Path, rng: Random) -> None:
    """Put a folder with a file in its place."""
    clear(path)
    path.mkdir()
    (path / "inside").write_text("inside")


def dangling_link(path: Path, rng: Random) -> None:
    """Put a link to nothing in its place."""
    clear(path)
    path.symlink_to(path.with_name("nowhere"))


def loop(path: Path, rng: Random) -> None:
    """Put a link to itself in its place."""
    clear(path)
    path.symlink_to(path)


def pipe(path: Path, rng: Random) -> None:
    """Put a named pipe in its place, which blocks whoever opens it."""
    clear(path)
    os.mkfifo(path)


def _write(path: Path, content: bytes) -> None:
    """Write a file anew: other names of the same file keep the old content."""
    clear(path)
    path.write_bytes(content)


Damage = Callable[[Path, Random], None]
DAMAGES: dict[str, Damage] = {
    one.__name__: one
    for one in (truncate, empty, flip, zero_block, junk, folder, dangling_link, loop, pipe, remove)
}
