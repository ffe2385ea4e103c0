"""The wheel: installed into an environment of its own, it works without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path, ok: bool = True) -> str:
    """Run a command as a user who has no checkout; return what it says."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The programs of an environment with the wheel; dependencies are those of the tests."""
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "wheel"
    python = home / "venv/bin/python"
    with FileLock(home.with_suffix(".lock")):
        if not python.exists():
            home.mkdir()
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
            run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", home, cwd=home)
            (wheel,) = home.glob("circuitlapse-*.whl")
            venv.create(python.parents[1], symlinks=True)
            run(*pip, "--python", python, "install", "--no-deps", wheel, cwd=home)
            # the folders alone: the editable checkout among the dependencies is not followed
            (site,) = python.parents[1].glob("lib/python*/site-packages")
            folders = [path for path in sys.path if Path(path).name == site.name]
            (site / "dependencies.pth").write_text("\n".join(folders))
    return python.parent


def test_the_library_comes_from_the_wheel(programs, tmp_path):
    where = run(
        programs / "python", "-c", "print(__import__('circuitlapse').__file__)", cwd=tmp_path
    )
    assert where.startswith(str(programs.parent))


def test_the_demo_makes_a_folder_and_plans_its_run(programs, tmp_path):
    demo = (programs / "circuitlapse", "demo", "--config", "smoke", "--dry-run", "mine")
    said = run(*demo, cwd=tmp_path)
    assert "plot_behaviour" in said
    assert not (tmp_path / "mine/results-smoke").exists()
    for name in ("Makefile", "scripts/plot.py", "config/README.md", "envs/constraints.txt"):
        assert (tmp_path / "mine" / name).read_bytes() == (ROOT / name).read_bytes()
    assert os.access(tmp_path / "mine/workflow/profiles/slurm/run.sh", os.X_OK)
    assert not list((tmp_path / "mine").rglob("__pycache__"))
    # once made, the folder is the user's
    (tmp_path / "mine/config/mine.yaml").write_text("sead: 7\n")
    demo = (programs / "circuitlapse", "demo", "--config", "mine", "--dry-run", "mine")
    assert "sead is not a known key" in run(*demo, cwd=tmp_path, ok=False)


def test_make_works_in_the_folder(programs, tmp_path):
    """With the programs of the environment that made it, not with a `.venv`."""
    code = "import pathlib, circuitlapse.plan.demo as d; d.make_folder(pathlib.Path('mine'))"
    run(programs / "python", "-c", code, cwd=tmp_path)
    make = ("env", f"PATH={programs}:{os.environ['PATH']}", "make", "CONFIG=config/smoke.yaml")
    assert "discover_circuit" in run(*make, "plan", cwd=tmp_path / "mine")
    assert not (tmp_path / "mine/.venv").exists()
