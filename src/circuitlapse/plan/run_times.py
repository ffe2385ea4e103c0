"""Where the time of a run went: what its jobs took, by rule."""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from circuitlapse.paths import Paths, timings_of

ROWS = 10
"""Rules that are listed; the others are summed."""


@dataclass(frozen=True)
class Row:
    """What several jobs took.

    Attributes:
        name: their rule.
        jobs: how many there are.
        wall_s: the sum of their wall seconds.
        cpu_s: the sum of their CPU seconds.
    """

    name: str
    jobs: int
    wall_s: float
    cpu_s: float

    @classmethod
    def total(cls, name: str, rows: Iterable[Row]) -> Row:
        """Return the sum of rows."""
        parts = [(row.jobs, row.wall_s, row.cpu_s) for row in rows]
        jobs, wall_s, cpu_s = (sum(column) for column in zip(*parts, strict=True))
        return cls(name, int(jobs), wall_s, cpu_s)


class RunTimes:
    """What the jobs of one run take."""

    def __init__(self) -> None:
        self._logs: list[tuple[str, str]] = []
        self._started_s = time.monotonic()

    def start(self, logs: Iterable[tuple[str, str]]) -> None:
        """Start the clock of a run; `logs` are the rule and the log of every job that it will do.

        What these jobs took in an earlier run is forgotten.
        """
        self._logs = [*logs]
        for _, log in self._logs:
            timings_of(log).unlink(missing_ok=True)
        self._started_s = time.monotonic()

    def table(self) -> str:
        """Return a table of the rules that took most, or nothing if no job has run."""
        by_rule = defaultdict(list)
        for rule, log in self._logs:
            if (file := timings_of(log)).exists():
                by_rule[rule].append(_read(rule, file))
        rows = [Row.total(rule, jobs) for rule, jobs in by_rule.items()]
        if not rows:
            return ""
        rows.sort(key=lambda row: row.wall_s, reverse=True)
        shown, others = rows[:ROWS], rows[ROWS:]
        if others:
            shown.append(Row.total(f"{len(others)} other rules", others))
        shown.append(Row.total("all jobs", rows))
        wide = max(len(row.name) for row in shown)
        lines = [f"{row.name:{wide}}{row.jobs:6}{row.wall_s:9.1f}{row.cpu_s:9.1f}" for row in shown]
        whole = f"The run took {time.monotonic() - self._started_s:.0f} s. Its jobs took:"
        return "\n".join([whole, f"{'rule':{wide}}{'jobs':>6}{'wall s':>9}{'CPU s':>9}", *lines])


def _read(rule: str, file: Path) -> Row:
    with file.open(newline="") as stream:
        (row,) = csv.DictReader(stream, delimiter="\t")
    return Row(rule, 1, float(row["s"]), float(row["cpu_time"]))


def where_to_look(paths: Paths, figures: Iterable[str], files: Sequence[str]) -> str:
    """Return where figures and explorer are and how to get the report, once all are drawn.

    Args:
        paths: of the run.
        figures: names of all figures.
        files: configuration files on the command line; `make` takes one.
    """
    drawn = [paths.figure_png.format(figure=name) for name in figures]
    if not all(Path(path).exists() for path in [*drawn, paths.explorer]):
        return ""
    config = "".join(f' CONFIG="{file}"' for file in files)
    page = f"; all on one page: make report{config}" if len(files) < 2 else ""
    figures_are = f"Figures are in {Path(drawn[0]).parent}{page}"
    return f"{figures_are}\nTo look into the circuits, open {paths.explorer} in a browser"
