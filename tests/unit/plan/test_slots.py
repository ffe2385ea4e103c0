"""Slots that real processes take, hold, and lose when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from circuitlapse.plan import slots
from circuitlapse.plan.slots import SLOTS, VISIBLE, Slots, take_gpu
from tests import no_locks

JOB = """
import logging, os, sys
from circuitlapse.plan.slots import VISIBLE, take_gpu
logging.basicConfig(stream=sys.stdout, level="INFO", format="%(message)s")
compute = take_gpu({"device": "cuda"})
print("took", os.environ[VISIBLE], compute.jobs_per_gpu, flush=True)
sys.stdin.read()  # until it is stopped
"""


class Job:
    """A process that takes a slot and holds it until it is stopped."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str] | None) -> None:
        self.output = folder / name
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", JOB],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def gpu(self) -> str:
        """Wait until it has a slot; return the GPU it sees and how many jobs share that."""
        return self._line("took ").removeprefix("took ")

    def waits(self) -> str:
        """Wait until it says that it waits."""
        return self._line("waiting")

    def has_a_slot(self) -> bool:
        return "took" in self.output.read_text()

    def stop(self) -> None:
        self.process.communicate()

    def _line(self, start: str) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.output.read_text().splitlines():
                if line.startswith(start):
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line {start!r} in {self.output.read_text()!r}")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start jobs that are told of two GPUs with two slots each; end them all."""
    Slots(str(tmp_path / ".slots"), ("GPU-a", "MIG-GPU-b/1/0"), 2).tell_jobs()
    monkeypatch.setenv(SLOTS, os.environ[SLOTS])  # so that it is removed in the end
    jobs = []

    def job(environment: dict[str, str] | None = None) -> Job:
        jobs.append(Job(tmp_path, f"job{len(jobs)}", environment))
        return jobs[-1]

    yield job
    for one in jobs:
        one.process.kill()
        one.stop()


def test_all_slots_are_used_at_once_and_no_more_jobs_than_slots_run(start):
    running = [start() for _ in range(4)]
    taken = [job.gpu() for job in running]
    assert Counter(taken) == {"GPU-a 2": 2, "MIG-GPU-b/1/0 2": 2}
    late = start()
    assert "all 4 slots in " in late.waits()
    time.sleep(2 * slots.POLL_S)
    assert not late.has_a_slot()
    running[1].stop()
    assert late.gpu() == taken[1]


def test_a_job_that_is_killed_leaves_its_slot_to_the_next(start):
    running = [start() for _ in range(4)]
    taken = [job.gpu() for job in running]
    late = start()
    late.waits()
    os.kill(running[2].process.pid, signal.SIGKILL)
    assert late.gpu() == taken[2]


def test_the_first_jobs_are_spread_over_the_gpus(start):
    first = start()
    one = first.gpu()
    assert start().gpu() != one


def test_on_a_file_system_without_locks_jobs_share_gpus_as_well(start, tmp_path, monkeypatch):
    """The locks are in the temporary folder of this machine then, and end with their jobs too."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    refusing = no_locks.environment(tmp_path / ".slots", tmp_path)
    running = [start(refusing) for _ in range(4)]
    taken = [job.gpu() for job in running]
    assert Counter(taken) == {"GPU-a 2": 2, "MIG-GPU-b/1/0 2": 2}
    late = start(refusing)
    late.waits()
    os.kill(running[2].process.pid, signal.SIGKILL)
    assert late.gpu() == taken[2]


def test_without_locks_anywhere_a_job_says_what_to_set(start, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    job = start(no_locks.environment(tmp_path, tmp_path))
    job.process.wait(timeout=60)
    said = job.output.read_text().splitlines()[-1]
    assert said.startswith("circuitlapse.errors.ConfigError: jobs that share GPUs lock files, but ")
    assert f"neither {tmp_path / '.slots'} nor {tmp_path} can lock files" in said
    assert said.endswith("set TMPDIR to a folder on a local disk")


def test_without_slots_and_on_a_cpu_a_job_keeps_what_it_sees(monkeypatch, tmp_path):
    monkeypatch.setenv(VISIBLE, "3")
    monkeypatch.delenv(SLOTS, raising=False)
    assert take_gpu({"device": "cuda"}).jobs_per_gpu == 1
    monkeypatch.setenv(SLOTS, "not read")
    monkeypatch.setattr(Slots, "told", lambda: Slots(str(tmp_path / ".slots"), ("GPU-a",), 2))
    assert take_gpu({"device": "cpu", "threads": 2}).threads == 2
    assert os.environ[VISIBLE] == "3"
    assert not (tmp_path / ".slots").exists()


def test_a_job_is_told_what_the_run_planned(monkeypatch, tmp_path):
    monkeypatch.setenv(SLOTS, "")
    planned = Slots(str(tmp_path), ("GPU-a", "GPU-b"), 3)
    planned.tell_jobs()
    assert Slots.told() == planned
    assert len(planned) == 6
