"""Files that are either whole or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target`; what was written there becomes `target` on success.

    The block may create a file or a folder. When it raises, or the process is killed,
    `target` is untouched; an exception also removes what was half-written.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch / target.name
        _replace(scratch / target.name, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(made: Path, target: Path) -> None:
    if made.is_dir() and target.is_dir():
        shutil.rmtree(target)
    made.replace(target)
