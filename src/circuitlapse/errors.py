"""One exception class per kind of user mistake, and the wording they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class CircuitlapseError(Exception):
    """Base of every error that Circuitlapse raises on purpose."""


class ConfigError(CircuitlapseError):
    """The configuration cannot be used; the message lists every problem at once."""


class TaskError(CircuitlapseError):
    """A task cannot be built: a prompt pair breaks a rule, or too few pairs remain."""


class ModelError(CircuitlapseError):
    """A model cannot be loaded, trained or analysed."""


class HubError(CircuitlapseError):
    """A model cannot be fetched from a hub, or from a folder that was filled before."""


class ArtifactError(CircuitlapseError):
    """A file on disk is not what its reader needs (shape, dims, dtype or provenance)."""


class UnknownNameError(CircuitlapseError):
    """A name (metric, method, task, ...) that is not in its registry."""


REMAKE = "delete it and run the workflow again"
"""What to do about a broken file that the workflow made."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME'; did you mean 'NEAREST'? (known: ...)"."""
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return f"unknown {kind} '{name}'{hint} (known: {', '.join(names)})"


def refuse_absent(path: str | Path) -> None:
    """Refuse a path that leads to no file.

    Raises:
        ArtifactError: there is no such file.
    """
    if not Path(path).is_file():
        raise ArtifactError(
            f"{path}: there is no such file; a relative path starts in {Path.cwd()}"
        )
