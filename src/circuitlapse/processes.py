"""Which process is this, and does another one still live?"""

from __future__ import annotations

import os
import re
import socket
from typing import NamedTuple

import psutil

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
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < _CLOCK_S)
        except psutil.Error:
            return False


def host() -> str:
    """Return the name of this machine, in letters, digits and dashes, at most 40."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
