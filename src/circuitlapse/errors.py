"""One exception class per kind of user mistake, shared wording, and checks of files.

`require_file`, `reading` and `read_json` stand here so that every reader of files raises the same
messages.
"""

from __future__ import annotations

import difflib
import errno
import json
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class CircuitlapseError(Exception):
    """Base class of the errors that tell a user what to change."""


class ConfigError(CircuitlapseError):
    """The configuration is invalid; the message lists every problem."""


class TaskError(CircuitlapseError):
    """A task cannot be built: a prompt pair breaks a rule, or too few pairs are left."""


class ModelError(CircuitlapseError):
    """A model cannot be loaded, trained or analysed."""


class DeviceMemoryError(CircuitlapseError):
    """A model, or one prompt that runs through it, does not fit into memory."""


class HubError(CircuitlapseError):
    """A model or dataset cannot be read from the hub, its cache or a local folder."""


class ArtifactError(CircuitlapseError):
    """A file is missing, broken, or does not have the expected axes, types or provenance."""


class UnknownNameError(CircuitlapseError):
    """A name, such as that of a metric or task, is not in its registry."""


LARGEST_JSON_MB = 512
"""Size of the largest file that is read; indices and circuits of the largest models are smaller."""
SHOWN = 300
"""At most so many characters of a library's message are repeated."""
REMAKE = "delete it and run the workflow again"
"""Advice for a broken file that the workflow made."""
OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
"""In messages of PyTorch for the CPU, and for what CUDA allocates by itself or on request."""
_NOT_THE_FILE = (
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
    *(errno.ENOMEM, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN),
)
"""Errors of the system that do not mean that a file is damaged."""
NOTHING = "nothing"
"""What is at a path without a file; see `no_file`."""
_CONTROL = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, halves of characters, and ends of lines."""
_NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message "unknown KIND 'NAME'; did you mean 'NEAREST'? (known: ...)"."""
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"unknown {kind} '{name}'{hint} (known: {', '.join(names)})"


def has_control(text: str) -> bool:
    """Return whether a text has characters that no name needs, such as NUL or the end of a line."""
    return any(unicodedata.category(character) in _CONTROL for character in text)


def printable(text: str) -> str:
    """Return a text with its control characters written as in Python: NUL as backslash, x00."""
    if not has_control(text):
        return text
    return "".join(repr(one)[1:-1] if has_control(one) else one for one in text)


def no_file(path: str | Path) -> str:
    """Return what is at `path` in place of a file, such as "a folder"; "" for a file."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if Path(path).is_symlink() else NOTHING
    except (OSError, ValueError) as error:
        return f"nothing that can be opened ({getattr(error, 'strerror', None) or error})"
    return next((what for is_such, what in _NO_FILES if is_such(mode)), "")


def require_file(path: str | Path) -> None:
    """Raise an error unless `path` is a file.

    Raises:
        ArtifactError: if there is no file at `path`.
    """
    found = no_file(path)
    if found == NOTHING:
        raise ArtifactError(f"{path}: no such file (relative paths start in {Path.cwd()})")
    if found:
        raise ArtifactError(f"{printable(str(path))}: expected a file, found {found}")


@contextmanager
def reading(
    path: str | Path,
    kind: str,
    *,
    raised: type[CircuitlapseError] = ArtifactError,
    advice: str = REMAKE,
) -> Iterator[None]:
    """Turn whatever reading a file in the block raises into one error with advice.

    Libraries raise nearly everything for a file that is damaged, or made to harm: HDF5 RuntimeError
    and ZeroDivisionError, JSON RecursionError, all of them MemoryError for a size that a file only
    announces, and libraries in Rust an exception that is no Exception.

    Args:
        path: of the file.
        kind: what it must be, such as "HDF5 file".
        raised: class of the error.
        advice: what to do.

    Raises:
        ArtifactError: or another one that is `raised`: if there is no file at `path`, or the block
            raises anything but a `CircuitlapseError`.
    """
    try:
        require_file(path)
    except ArtifactError as error:
        raise raised(str(error)) from None
    try:
        yield
    except (CircuitlapseError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if isinstance(error, RuntimeError) and any(one in str(error) for one in OUT_OF_MEMORY):
            raise  # the file may be whole
        if isinstance(error, OSError) and error.errno in _NOT_THE_FILE:
            raise raised(f"{path}: cannot be read: {os.strerror(error.errno)}") from error
        if isinstance(error, MemoryError):
            advice = f"give the job more; if the file is damaged, {advice}"
            raise raised(f"{path}: reading it needs more memory than there is; {advice}") from error
        why = printable(f"{str(error)[:SHOWN]} ({type(error).__name__})".lstrip())
        raise raised(f"{path}: not a readable {kind}: {why}; {advice}") from error


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file, which may be anything.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not JSON in UTF-8, is larger than `LARGEST_JSON_MB`, or is nested so
            deeply that Python cannot read it.
    """
    size_mb = Path(path).stat().st_size / 2**20
    if size_mb > LARGEST_JSON_MB:
        raise ValueError(f"expected JSON of at most {LARGEST_JSON_MB} MB, found {size_mb:.0f} MB")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("expected JSON, found lists or mappings nested too deeply") from None
