"""Run the real workflow in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from circuitlapse.plan.gpus import PROBE, PROBE_OK

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Workflow:
    """The workflow of this repository, with its results in `folder`."""

    folder: Path

    def command(self, *arguments: str, config: str | None = "config/smoke.yaml") -> list[str]:
        command = [sys.executable, "-m", "snakemake", *arguments]
        command += ["--snakefile", str(ROOT / "workflow/Snakefile")]
        command += ["--directory", str(self.folder)]
        command += [] if "--cores" in arguments else ["--cores", "2"]
        command += ["--workflow-profile", str(ROOT / "workflow/profiles/local")]
        return command + (["--configfile", config] if config else [])

    def run(self, *arguments: str, config: str | None = "config/smoke.yaml", ok: bool = True):
        done = subprocess.run(
            self.command(*arguments, config=config),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output
        return output

    def jobs(self, *arguments: str, config: str | None = "config/smoke.yaml") -> dict[str, int]:
        """Return how many jobs of each rule a run would start."""
        output = self.run("--dry-run", *arguments, config=config)
        table = re.search(r"^job +count\n-+ +-+\n(.*?)\n\n", output, re.MULTILINE | re.DOTALL)
        if table is None:
            assert "Nothing to be done" in output, output
            return {}
        counts = {name: int(n) for name, n in (row.split() for row in table[1].splitlines())}
        counts.pop("total")
        return counts

    def write_config(self, name: str, **changes: object) -> str:
        """Write the smoke configuration with some keys changed; return its path."""
        config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | changes
        path = self.folder / "config" / name
        path.write_text(yaml.safe_dump(config))
        return f"config/{name}"


def new_workflow(folder: Path) -> Workflow:
    shutil.copytree(ROOT / "config", folder / "config")
    return Workflow(folder)


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """A workflow that has not run."""
    return new_workflow(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workflow:
    """The smoke configuration, run to its end once; tests only read it or dry-run on it.

    Workers share the run: the first that needs it makes it while others wait. The scripts of its
    jobs stay, so that tests can run one of them again.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "smoke"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            new_workflow(folder).run("--skip-script-cleanup")
            done.touch()
    return Workflow(folder)


@pytest.fixture
def copied(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished run, with its times and its records, to change at will."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    return Workflow(folder)


@pytest.fixture
def willing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer in place of PyTorch when a run asks whether it can use a GPU."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"if sys.orig_argv[-1] == {PROBE!r}:\n"
        f"    print({PROBE_OK!r}, flush=True)\n"
        "    os._exit(0)\n"
    )
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with these tests, which take longest."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here not in item.path.parents)
