"""Files and folders that are either complete or absent, also after a crash."""

from __future__ import annotations

import glob
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANDOM_PART = "[a-z0-9_]" * 8
"""What `tempfile` appends to a prefix: scratch folders of `a.h5` must not match those of `a`."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; when the block ends, move it to `target`.

    - The block may create a file or a folder.
    - If the block raises, `target` is unchanged and the incomplete file is deleted.
    - If the process is killed, `target` is unchanged too; the next writer of the same target
      deletes the incomplete file.
    - Only one process at a time may write a target.
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
    """Give every file the permissions of a new file, since some libraries write private ones.

    Targets of links keep theirs.
    """
    probe = scratch / ".permissions"
    probe.touch()
    usual = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in scratch.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(usual)


def _remove_stale(target: Path) -> None:
    """Delete the scratch folders of killed writers of `target`."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.{RANDOM_PART}"):
        shutil.rmtree(folder, ignore_errors=True)


def _replace(made: Path, target: Path) -> None:
    if made.is_dir() and target.is_dir():
        shutil.rmtree(target)
    made.replace(target)
