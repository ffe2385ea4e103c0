"""Files that are either whole or absent."""

from __future__ import annotations

import glob
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANDOM_PART = "[a-z0-9_]" * 8
"""What `tempfile` puts behind a prefix; the scratch of `a.h5` must not pass for one of `a`."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target`; what was written there becomes `target` on success.

    The block may create a file or a folder. When it raises, or the process is killed,
    `target` is untouched; an exception also removes what was half-written, and the next
    writer of the same target what a killed one left. Only one process at a time may write it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch / target.name
        _make_readable(scratch)
        _replace(scratch / target.name, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_readable(scratch: Path) -> None:
    """Give every file the permissions of a new one; some libraries write files that are private.

    What a link points to is somebody else's.
    """
    probe = scratch / ".permissions"
    probe.touch()
    usual = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in scratch.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(usual)


def _remove_stale(target: Path) -> None:
    for folder in target.parent.glob(f".{glob.escape(target.name)}.{RANDOM_PART}"):
        shutil.rmtree(folder, ignore_errors=True)


def _replace(made: Path, target: Path) -> None:
    if made.is_dir() and target.is_dir():
        shutil.rmtree(target)
    made.replace(target)
