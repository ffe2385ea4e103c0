"""A Slurm cluster of one node on this machine, and what tests do to the jobs on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = ("Makefile", "pyproject.toml", "config", "envs", "scripts", "workflow")
SMOKE = "config/smoke.yaml"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
BOOTS = 3
SAVED_S = 6
"""Seconds after which the controller has saved what it knows of a new job."""
PATIENCE = 600
"""Seconds after which a test gives up; on two idle cores nothing takes a quarter of that."""


def missing_programs() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextmanager
def running_cluster(script: Path) -> Iterator[dict[str, str]]:
    """Boot a cluster with four cores and one GPU that computes nothing; yield its environment."""
    # not below pytest's own folders: the path of a socket must be short
    folder = tempfile.mkdtemp(prefix="slurm-")
    try:
        name, value = boot(script, folder).removeprefix("export ").strip().split("=", 1)
        yield {name: value}
    finally:
        subprocess.run([script, "stop", folder], check=True, capture_output=True)
        shutil.rmtree(folder)


def boot(script: Path, folder: str) -> str:
    """Boot a cluster; return the line that tells where it is.

    On a busy machine the script may take a daemon that has not begun yet for one that has ended.
    """
    size = {"LOCAL_SLURM_GPUS": "1", "LOCAL_SLURM_MEM_MB": "16000"}
    for _ in range(BOOTS):
        booted = subprocess.run(
            [script, "start", folder, "4"], env=os.environ | size, capture_output=True, text=True
        )
        if booted.returncode == 0:
            return booted.stdout
        subprocess.run([script, "stop", folder], check=True, capture_output=True)
    raise AssertionError(booted.stderr)


def set_up(folder: Path) -> Path:
    """Copy this checkout and edit the profile, as a lab would; return the folder.

    Files keep their times: Snakemake runs again what is older than its script.
    """
    folder.mkdir(exist_ok=True)
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    profile = folder / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text()
    for old, new in (
        ("# slurm_partition: short", "slurm_partition: gpu"),
        (
            "slurm-init-seconds-before-status-checks: 20",
            "slurm-init-seconds-before-status-checks: 1",
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    # what comes after these tables, and beside them, is the same to a cluster, and takes long
    profile.write_text(f"{text}until: [aggregate_behaviour, aggregate_circuits]\n")
    return folder


def make(target: str, config: str = SMOKE) -> list[str]:
    """Return the command of a target; -o: there is an environment already."""
    return ["make", "-o", ".venv/.ready", target, f"CONFIG={config}"]


@dataclass
class Run:
    """A command that runs in a folder, with what it has printed."""

    folder: Path
    process: subprocess.Popen[bytes]
    output: Path

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the command and to what it has started here; not to jobs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)


def start(command: list[str], folder: Path) -> Run:
    """Start a command in a folder, in a process group of its own."""
    output = folder / f"output-{time.monotonic_ns()}.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
            # in the background of a shell we ignore it, and what we start would, too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    return Run(folder, process, output)


def finish(command: list[str], folder: Path) -> str:
    """Run a command to its good end; return what it printed."""
    run = start(command, folder)
    code = run.end()
    assert code == 0, run.output.read_text()
    return run.output.read_text()


@dataclass(frozen=True)
class Job:
    """What Slurm says of a job; `work` names its rule and the values of its wildcards."""

    number: int
    state: str
    work: str
    limit: str
    memory: str

    @property
    def rule(self) -> str:
        return self.work.removeprefix("rule_").split("_wildcards_")[0]


def jobs_of(folder: Path) -> list[Job]:
    """Return every job that was ever queued from a folder, oldest first."""
    listed = slurm("squeue", "--noheader", "--all", "--states=all", "--format=%Z|%A|%T|%k|%l|%m")
    rows = [line.split("|") for line in listed.splitlines()]
    found = [Job(int(row[1]), *row[2:]) for row in rows if row[0] == str(folder)]
    return sorted(found, key=lambda job: job.number)


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for(ready: Callable[[], object], run: Run | None = None) -> None:
    """Wait until something is true; fail when it takes too long, or when the run has ended."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        assert run is None or run.process.poll() is None, run.output.read_text()
        time.sleep(0.05)


def hold(run: Run, rule: str) -> Job:
    """Stop a job of a rule in the middle of its work, so that it hangs; return it."""
    found: list[int] = []
    wait_for(lambda: found.extend(processes(run.folder, rule)) or found, run)
    os.kill(found[0], signal.SIGSTOP)
    # until then, the next call could find the same process again
    wait_for(lambda: found[0] not in processes(run.folder, rule))
    environment = Path(f"/proc/{found[0]}/environ").read_bytes().split(b"\0")
    (number,) = [int(line[13:]) for line in environment if line.startswith(b"SLURM_JOB_ID=")]
    return next(job for job in jobs_of(run.folder) if job.number == number)


def go_on(job: Job) -> None:
    """Let a job go on that was held."""
    for process in _processes_of(job):
        os.kill(process, signal.SIGCONT)


def crash_controller(script: Path) -> None:
    """Kill the daemon that knows all jobs, and start it again."""
    time.sleep(SAVED_S)
    folder = Path(os.environ["SLURM_CONF"]).parent
    os.kill(int((folder / "run/slurmctld.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: subprocess.run(["squeue"], capture_output=True, check=False).returncode)
    boot(script, str(folder))


def fail_node(job: Job) -> None:
    """Take the only node out of service while a job runs on it, and put it back."""
    (node,) = slurm("sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%N").split()
    slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    wait_for(lambda: "RUNNING" not in slurm("squeue", "--all", "-h", f"-j{job.number}", "-o%T"))
    # it may have come back by itself
    resume = ["scontrol", "update", f"NodeName={node}", "State=RESUME"]
    subprocess.run(resume, check=False, capture_output=True)


def environment_of(job: Job) -> set[str]:
    """Return the variables that any process of a job has."""
    return {one for variables in _processes_of(job).values() for one in variables}


def _processes_of(job: Job) -> dict[int, list[str]]:
    """Return the processes of a job, with their variables."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().decode().split("\0")
        except OSError:  # it has ended
            continue
        if f"SLURM_JOB_ID={job.number}" in variables:
            found[int(process.name)] = variables
    return found


def processes(folder: Path, rule: str) -> Iterator[int]:
    """Return the processes that run the script of a rule and are not stopped."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            stopped = b") T " in (process / "stat").read_bytes()
        except OSError:  # it has ended
            continue
        script = command[1].decode() if len(command) > 1 else ""
        if script.startswith(f"{folder}/") and script.endswith(f".{rule}.py") and not stopped:
            yield int(process.name)
