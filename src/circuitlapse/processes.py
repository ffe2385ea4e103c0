"""Which process is this, does another one still live, and which one runs the workflow here?

    python -m circuitlapse.processes    fails, and says how to end it, while a run lives

`make unlock` asks this first, since it must not take the lock from a run.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import psutil

RUN = Path(".snakemake/circuitlapse-run.json")
"""Which process runs in this folder, or ran last."""
_CLOCK_S = 2.0
"""By how much two readings of when a process started may differ."""


class Process(NamedTuple):
    """A process of some machine. Numbers of processes are used again, so it has a start, too."""

    host: str
    pid: int
    started: int
    """In seconds of the epoch."""

    @classmethod
    def this(cls) -> Process:
        """Return the process that calls."""
        return cls(host(), os.getpid(), int(psutil.Process().create_time()))

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine."""
        return self.host == host()

    @property
    def lives(self) -> bool:
        """Whether it is still there; only for processes of this machine."""
        try:
            found = psutil.Process(self.pid)
            ended = found.status() == psutil.STATUS_ZOMBIE  # killed, and its parent did not notice
            return not ended and abs(found.create_time() - self.started) < _CLOCK_S
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True  # of another user, about whom nothing is shown


def host() -> str:
    """Return the name of this machine, in letters, digits and dashes, at most 40."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]


def note_run() -> None:
    """Note that this process runs the workflow in the current folder."""
    RUN.parent.mkdir(exist_ok=True)
    RUN.write_text(json.dumps(Process.this()._asdict()), encoding="utf-8")


def active_run() -> str:
    """Return which run may still be active in the current folder, and how to end it; or ""."""
    try:
        process = Process(**json.loads(RUN.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""
    name = f"process {process.pid} on {process.host}"
    if not process.is_here:
        return (
            f"The last run here was {name}, which cannot be seen from this machine. Run `make "
            f"unlock` there; if that machine is gone, delete {RUN} first."
        )
    if process.lives:
        return (
            f"A run is still active here: {name}. Wait for its end, press Ctrl-C where it runs, "
            f"or use `kill -INT {process.pid}`."
        )
    return ""


if __name__ == "__main__":
    sys.exit(active_run() or 0)
