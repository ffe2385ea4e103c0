"""Run single jobs of a finished run again, in a copy of it, and judge how they end."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

LIMIT_S = 180.0
"""A job that takes longer hangs."""
OUR_ERROR = re.compile(
    r"(Artifact|Config|Task|Model|Hub|DeviceMemory|UnknownName)Error: (?P<text>[^\n]+)"
)
NOT_RESULTS = ("logs", "benchmarks", "manifest")


@dataclass(frozen=True)
class Job:
    """A job of a run: its rule, and the wrapper of its script that Snakemake wrote."""

    script: Path

    @cached_property
    def _given(self) -> Any:
        for node in ast.walk(ast.parse(self.script.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                return pickle.loads(node.value)
        raise ValueError(f"{self.script}: no job")

    @property
    def rule(self) -> str:
        return str(self._given.rule)

    @property
    def inputs(self) -> list[str]:
        return [str(path) for path in self._given.input]

    @property
    def outputs(self) -> list[str]:
        return [str(path) for path in self._given.output]

    @property
    def logs(self) -> list[str]:
        return [str(path) for path in self._given.log]

    @property
    def params(self) -> Any:
        return self._given.params

    def reads(self, path: str) -> bool:
        """Return whether a file, or the folder that it is in, is an input."""
        return any(path == one or path.startswith(f"{one}/") for one in self.inputs)


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs of a run with `--skip-script-cleanup`, always in the same order."""
    found = [Job(path) for path in (folder / ".snakemake/scripts").glob("*.py")]
    return sorted(found, key=lambda job: (job.rule, job.outputs))


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    hung: bool
    took: float
    said: str
    left: dict[str, str]

    @property
    def message(self) -> str:
        """The text of our one error; "" if it said anything else."""
        found = OUR_ERROR.fullmatch(self.said.strip())
        return found["text"] if found else ""


class Server:
    """Starts jobs as forks of one process."""

    def __init__(self, scratch: Path) -> None:
        self._said = scratch / "said"
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert process.stdin
        assert process.stdout
        self._process, self._asked, self._answers = process, process.stdin, process.stdout

    def run(
        self,
        job: Job | Path,
        folder: Path,
        *,
        prepare: Mapping[str, Iterable[Any]] | None = None,
        kill_at_s: float | None = None,
        watched: str = "",
    ) -> Ended:
        """Run a job, or a script, in a folder.

        Args:
            job: what to run.
            folder: where it finds its input.
            prepare: functions of `preparing`, with their arguments, to call first.
            kill_at_s: when the job is killed.
            watched: a folder; what the job sees in it at its end is in `Ended.left`.
        """
        request = {
            "script": str(job.script if isinstance(job, Job) else job),
            "folder": str(folder),
            "said": str(self._said),
            "prepare": dict(prepare or {}),
            "limit_s": LIMIT_S,
            "kill_at_s": kill_at_s,
            "watched": watched,
        }
        print(json.dumps(request), file=self._asked, flush=True)
        answer = json.loads(self._answers.readline())
        left = json.loads(self._said.with_suffix(".left").read_text()) if watched else {}
        return Ended(**answer, said=self._said.read_text(), left=left)

    def close(self) -> None:
        """End the process."""
        self._asked.close()
        self._process.wait()


def copy_of(run: Path, folder: Path) -> Path:
    """Copy a run, with its times."""
    shutil.copytree(run, folder, symlinks=True)
    return folder


def content_of(folder: Path) -> dict[str, bytes | str]:
    """Return the bytes of every result below a folder, links as their target."""
    found: dict[str, bytes | str] = {}
    for place, names, files in os.walk(folder):
        if Path(place) == folder:
            names[:] = [name for name in names if name not in NOT_RESULTS]
        for name in {*files, *names} - {".snakemake_timestamp"}:
            path = Path(place, name)
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = str(path.readlink())
            elif path.is_file():
                found[key] = path.read_bytes()
            elif not path.is_dir() or not any(path.iterdir()):
                found[key] = "not a file"
    return found


def refuse_unclear(ended: Ended, named: Iterable[str]) -> None:
    """Fail unless a job said one sentence of ours that names one of some files."""
    assert not ended.hung, f"hung for {ended.took:.0f} s"
    assert ended.code == 1, ended
    assert ended.message, f"expected one of our errors, found {ended.said!r}"
    assert any(name in ended.message for name in named), ended.message
