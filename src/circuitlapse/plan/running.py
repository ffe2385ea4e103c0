"""The run that is active in a folder: `make unlock` must not take the lock from it.

python -m circuitlapse.plan.running    fails, and says how to end it, while the run lives
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from circuitlapse.processes import Process

RUN = Path(".snakemake/circuitlapse-run.json")
"""Which process runs in this folder, or ran last."""


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
