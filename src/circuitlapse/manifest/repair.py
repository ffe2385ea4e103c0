"""Remake what differs from the manifest, and what depends on it if its content is then another.

1. What differs is deleted. What no job has written is not: it is moved to `set_aside/`.
2. Snakemake makes these files, and nothing else: first those that depend on no others of them.
3. Files that are as before get their old times, so that Snakemake makes nothing again that was made
   from them. If any is not, Snakemake makes everything that depends on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from circuitlapse.manifest.job_record import TIMESTAMP, JobRecord, Manifest, record, record_path
from circuitlapse.io.atomic import remove
from circuitlapse.manifest.differences import Comparison, Difference, Kind
from circuitlapse.paths import Paths

REPORT = "report"
"""The job of the page that `make report` writes."""
_HARMLESS = "ignore:coroutine 'InputFiles._predicated_size_files:RuntimeWarning"
"""Snakemake warns of this when it writes a report; it has no effect."""


def repair(found: Comparison, command: Sequence[str]) -> None:
    """Remake everything that differs; exit if Snakemake fails.

    Args:
        found: the folder beside its manifest.
        command: Snakemake with all of its options.
    """
    root, paths = found.manifest.root, Paths(str(found.manifest.root))
    # what no job wrote first: it may lie in a folder that is deleted
    ordered = sorted(found.differences, key=lambda one: one.kind is not Kind.UNKNOWN)
    targets = sorted({one for each in ordered for one in _cleared(each, found)})
    report = os.path.relpath(paths.report, root)
    makes_report = report in targets
    changed = False
    for wave in _waves([one for one in targets if one != report], found):
        _run([command[0], *(f"{root}/{one}" for one in wave), *command[1:]])
        changed = changed or _takes_over(found, Manifest.read(root))
    if changed or _lacks(found):
        _run(command)
    for path in (root / one.path for one in found.differences if one.kind is Kind.HALF_WRITTEN):
        remove(path)
    if makes_report:
        _run([*command, "--report", paths.report], PYTHONWARNINGS=_HARMLESS)
        record(root, REPORT, REPORT, [paths.report])


def _cleared(one: Difference, found: Comparison) -> list[str]:
    """Delete a file that differs, or move it away; return what Snakemake is to make."""
    root = found.manifest.root
    if one.kind in (Kind.HALF_WRITTEN, Kind.NO_RECORD):  # a job may go on with it, or use it
        return []
    if one.kind in (Kind.UNKNOWN, Kind.RECORD):
        _set_aside(root, one.path)
        return [one.path] if one.path in found.asked_for else []
    job = found.writers.get(one.path)
    if job is None:
        return [one.path]
    folder = next((each for each in job.folders if one.path.startswith(f"{each}/")), one.path)
    if (root / one.path).is_dir():  # no job wrote what is in it
        _set_aside(root, one.path)
    remove(root / folder)
    if found.expected.may_be_gone(one.path):
        return []
    if _can_be_made(folder, job, found):
        return [folder]
    for path in (*job.outputs, os.path.relpath(record_path(root, job.job), root)):
        _set_aside(root, path)
    return []


def _waves(targets: Iterable[str], found: Comparison) -> list[list[str]]:
    """Group files so that each one depends on none of the same group or of a later one.

    In one run, Snakemake would make everything again that lies between two of them.
    """
    folders = {one: job for job in found.writers.values() for one in job.folders}
    makers = {one: found.writers.get(one) or folders.get(one) for one in targets}
    bad = {job.job for job in makers.values() if job}
    depths: dict[str, int] = {}

    def depth(job: JobRecord) -> int:
        """Return how many of the jobs that run again are in the longest chain before this one."""
        if job.job not in depths:
            depths[job.job] = 0
            used = [found.writers[name] for name in job.inputs if name in found.writers]
            depths[job.job] = max((depth(one) + (one.job in bad) for one in used), default=0)
        return depths[job.job]

    last = len(bad)  # without a record nobody knows
    order = {one: depth(job) if job else last for one, job in makers.items()}
    by_depth = sorted(order, key=lambda one: (order[one], one))
    return [list(wave) for _, wave in groupby(by_depth, key=order.__getitem__)]


def _can_be_made(path: str, job: JobRecord, found: Comparison) -> bool:
    """Return whether the configuration still has a job that makes this file."""
    asked = found.asked_for | found.expected.on_request
    return job.job == REPORT or path in asked or not asked.isdisjoint(job.outputs)


def _set_aside(root: Path, path: str) -> None:
    """Move a file below the results out of their way; nothing of the same name is replaced."""
    place = Path(Paths(str(root)).set_aside) / path
    while os.path.lexists(place):
        place = place.with_name(f"{place.name}_")
    if os.path.lexists(root / path):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / path, place)


def _takes_over(found: Comparison, now: Manifest) -> bool:
    """Give files that were made again their old times; return whether any has other content.

    Then nothing gets its old time, and Snakemake sees what to make again.
    """
    before = found.writers
    again = {path: job for path, job in now.writers().items() if job != before.get(path)}
    used = {path for job in found.manifest.records.values() for path in job.inputs}
    for path, job in again.items():
        if path not in before:  # its record was damaged or lost
            if path in used:
                return True
        elif job.digests(path).isdisjoint(before[path].digests(path)):
            return True
    for path in again.keys() & before.keys():
        old = before[path]
        _set_time(now.root / path, old.ended_ns)
        for folder in old.folders:
            _set_time(now.root / folder / TIMESTAMP, old.ended_ns)
    return False


def _set_time(path: Path, time_ns: int) -> None:
    if path.is_file() and path.stat().st_mtime_ns > time_ns:
        os.utime(path, ns=(time_ns, time_ns))


def _lacks(found: Comparison) -> bool:
    """Return whether a final file is not there."""
    return not all((found.manifest.root / path).is_file() for path in found.expected.final)


def _run(command: Iterable[str], **variables: str) -> None:
    done = subprocess.run([*command], check=False, env=os.environ | variables)
    if done.returncode:
        sys.exit(done.returncode)
