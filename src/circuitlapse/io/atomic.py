"""Files and folders that are either complete or absent, also after a crash or a power cut."""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from circuitlapse.errors import ArtifactError
from circuitlapse.processes import Process

ABANDONED_S = 24 * 3600.0
"""Age of a scratch folder of another machine at which its writer counts as dead."""
_SCRATCH = re.compile(r"\.(?P<target>.+)\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.(?P<started>\d+)\.\w{8}")
"""The name of a scratch folder."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; when the block ends, move it to `target`.

    - The block may create a file or a folder. It replaces whatever was at `target`.
    - If the block raises, `target` is unchanged and the incomplete file is deleted.
    - If the process is killed, `target` is unchanged too; the next writer of the same target
      deletes the incomplete file. A folder that is being replaced may be absent for a moment, but
      never incomplete.
    - What was written is on the disk before it gets its name.

    Raises:
        ArtifactError: if another process of this machine writes `target` at this time, or the disk
            refuses, because it is full or read-only.
    """
    target = Path(target)
    scratch = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_scratch(target)
        owner = ".".join(map(str, Process.this()))
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.{owner}.", dir=target.parent))
        yield scratch / target.name
        _make_readable(scratch)
        _sync_all(scratch / target.name)
        _replace(scratch / target.name, target, aside=scratch / "replaced")
        _sync(target.parent)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise ArtifactError(f"{target}: cannot be written: {reason}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def clear_abandoned(folder: str | Path) -> None:
    """Delete the scratch folders of dead writers below a folder; links are not followed."""
    for place, names, _ in os.walk(folder):
        for name in names:
            found = _SCRATCH.fullmatch(name)
            if found and _is_abandoned(_writer(found), Path(place, name)):
                shutil.rmtree(Path(place, name), ignore_errors=True)
        names[:] = [name for name in names if not name.startswith(".")]


def is_scratch(name: str) -> bool:
    """Return whether a folder of this name is one that `atomic_path` made to write in."""
    return _SCRATCH.fullmatch(name) is not None


def remove(path: Path) -> None:
    """Delete whatever is at `path`, if anything; a link is not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear_scratch(target: Path) -> None:
    """Delete the scratch folders of dead writers of `target`; refuse if a writer lives."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*"):
        found = _SCRATCH.fullmatch(folder.name)
        if found is None or found["target"] != target.name:
            continue  # of another target, whose name begins with this one's
        writer = _writer(found)
        if _is_abandoned(writer, folder):
            shutil.rmtree(folder, ignore_errors=True)
        elif writer.is_here:
            raise ArtifactError(
                f"{target}: process {writer.pid} is writing it; wait for its end, or end it"
            )


def _writer(found: re.Match[str]) -> Process:
    return Process(found["host"], int(found["pid"]), int(found["started"]))


def _is_abandoned(writer: Process, scratch: Path) -> bool:
    return not writer.lives if writer.is_here else _age_s(scratch) > ABANDONED_S


def _age_s(folder: Path) -> float:
    """Return how long ago anything in a folder was written."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return 0.0


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


def _sync_all(made: Path) -> None:
    """Write a file, or a folder and all in it, from memory to the disk."""
    inside = made.rglob("*") if made.is_dir() else ()
    for path in (*inside, made):
        if not path.is_symlink():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(made: Path, target: Path, *, aside: Path) -> None:
    """Move `made` to `target`; a folder that is in the way is moved aside first.

    A file, or a link, is replaced in one step.
    """
    if target.is_dir() and not target.is_symlink():
        target.replace(aside)
    elif made.is_dir():
        target.unlink(missing_ok=True)
    made.replace(target)
