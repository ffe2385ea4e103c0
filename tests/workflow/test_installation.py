"""What the Makefile and the conda environment run, with stand-ins for the programs they call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitlapse.figures.registry import FIGURES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "envs/environment.post-deploy.sh"


@pytest.fixture
def stand_in(tmp_path):
    """Put a program into a folder of its own; it prints its arguments. Return the folder."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name: str, line: str = 'echo "$(basename "$0") $*"') -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
        return folder

    return make


def run(*command: object, cwd: Path, **environment: str):
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("config", "report"),
    [([], "results/report.html"), (["CONFIG=config/smoke.yaml"], "results-smoke/report.html")],
)
def test_the_report_lies_with_the_results_of_its_configuration(stand_in, config, report):
    stand_in("snakemake")
    folder = stand_in("python", f'exec {sys.executable} "$@"')
    # -o demo: nothing of what comes before the report is made
    done = run(
        "make", "--no-print-directory", "-o", "demo", "report", f"BIN={folder}", *config, cwd=ROOT
    )
    assert f"--report {report}\n" in done.stdout, done.stderr
    assert done.stdout.endswith(f"Open {report} in a browser.\n")


def test_the_report_hides_one_warning_of_snakemake_and_no_other(stand_in):
    one = "coroutine 'InputFiles._predicated_size_files.<locals>.sizes' was never awaited"
    code = f'import warnings; [warnings.warn(w, RuntimeWarning) for w in ("{one}", "another")]'
    folder = stand_in("snakemake", f"exec {sys.executable} - <<'END'\n{code}\nEND")
    stand_in("python", f'exec {sys.executable} "$@"')
    done = run("make", "-o", "demo", "report", f"BIN={folder}", cwd=ROOT)
    assert "RuntimeWarning: another" in done.stderr
    assert "never awaited" not in done.stderr


def test_the_configuration_is_checked_first_and_its_path_may_have_a_space(stand_in, tmp_path):
    folder = stand_in("snakemake", 'printf "<%s>" "$@"')
    stand_in("python", f'exec {sys.executable} "$@"')
    config = tmp_path / "my own.yaml"
    for text, started in (("seed: 7", True), ("sead: 7", False)):
        config.write_text(text)
        make = ("make", "-o", ".venv/.ready", f"BIN={folder}", f"CONFIG={config}", "demo")
        done = run(*make, cwd=ROOT)
        assert (f"<--configfile><{config}>" in done.stdout) == started, done.stderr
        assert (f"{config}: sead is not a known key" in done.stderr) == (not started)
        assert (done.returncode == 0) == started


def test_help_fits_on_a_screen_with_one_line_per_command():
    done = run("make", "--no-print-directory", "help", cwd=ROOT)
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    assert named == phony_targets()
    assert "PYTHON" not in done.stdout


def phony_targets() -> set[str]:
    """Return the targets of the Makefile that are commands."""
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(line.split())


KNOWN = (
    f"(known: {', '.join(sorted(FIGURES))}); "
    "diagrams are named like circuit_diagram/pocket-tiny/sva/step400\n"
)


@pytest.mark.parametrize(
    ("figure", "path", "message"),
    [
        ("transfer", "results-smoke/figures/transfer", ""),
        ("circuit_diagram/pocket-tiny/ioi/step100", "circuit_diagram/pocket-tiny/ioi/step100", ""),
        ("foo", "", f"unknown figure 'foo' {KNOWN}"),
        ("", "", f"unknown figure '' {KNOWN}"),
        (
            "circuit_diagram/pocket-tiny/ioi/step200",  # saved, but not analysed
            "",
            "step200: unknown step '200'; did you mean '400'? (known: 0, 100, 400)\n",
        ),
    ],
)
def test_one_figure_is_made_or_the_known_ones_are_named(stand_in, figure, path, message):
    folder = stand_in("snakemake")
    stand_in("python", f'exec {sys.executable} "$@"')
    config = "CONFIG=config/smoke.yaml"
    make = ("make", "-o", ".venv/.ready", f"BIN={folder}", config, f"FIG={figure}", "figure")
    done = run(*make, cwd=ROOT)
    if path:
        assert f"{path}.pdf " in done.stdout, done.stderr
        assert f"{path}.png\n" in done.stdout
    else:
        assert done.returncode != 0
        assert "results-smoke" not in done.stdout
        assert message in done.stderr


@pytest.mark.parametrize(
    ("cores", "good"), [("2", True), ("all", True), ("0", False), ("-1", False), ("two", False)]
)
def test_a_number_of_cores_that_cannot_be_is_refused_at_once(cores, good):
    done = run("make", "-n", "-o", ".venv/.ready", "demo", f"CORES={cores}", cwd=ROOT)
    assert (done.returncode == 0) == good
    message = f"CORES={cores}: expected a whole number of at least 1, or all"
    assert (message in done.stderr) != good


def test_a_locked_folder_is_unlocked_with_the_configuration_it_belongs_to(stand_in):
    folder = stand_in("snakemake")
    stand_in("python", f'exec {sys.executable} "$@"')
    make = ("make", "-o", ".venv/.ready", f"BIN={folder}", "CONFIG=config/smoke.yaml", "unlock")
    done = run(*make, cwd=ROOT)
    assert "--configfile config/smoke.yaml --cores 1 --unlock\n" in done.stdout, done.stderr


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_environment_gets_this_checkout_with_its_pins(stand_in, tmp_path, elsewhere):
    """As Snakemake runs it: a copy of the script, in the working directory."""
    copy = tmp_path / "hash_.post-deploy.sh"
    copy.write_text(SCRIPT.read_text())
    path = f"{stand_in('pip')}:{os.environ['PATH']}"
    root = {"CIRCUITLAPSE_ROOT": str(ROOT)} if elsewhere else {}
    done = run("sh", copy, cwd=tmp_path if elsewhere else ROOT, PATH=path, **root)
    pins = f"--constraint {ROOT}/envs/constraints.txt"
    assert done.stdout == f"pip install --no-input {pins} --editable {ROOT}\n", done.stderr


def test_the_environment_says_where_it_has_to_be_made(stand_in, tmp_path):
    path = f"{stand_in('pip')}:{os.environ['PATH']}"
    done = run("sh", SCRIPT, cwd=tmp_path, PATH=path)
    assert done.returncode == 1
    assert "start Snakemake there, or set CIRCUITLAPSE_ROOT" in done.stderr
    assert not done.stdout


def test_a_job_runs_in_folders_whose_names_have_spaces_and_other_signs(tmp_path):
    """Snakemake itself does not quote the path of the interpreter."""
    folder = tmp_path / "it's my checkout (2)"
    folder.mkdir()
    for name in ("config", "envs", "scripts", "workflow"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    results = "its 100% & more; $"
    target = f"{results}/corpus/pocket/tokenizer.json"
    snakemake = (folder / ".venv/bin/python", "-m", "snakemake", target, "--cores", "1")
    options = ("--configfile", "config/smoke.yaml", "--config", f"results={results}")
    done = run(*snakemake, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / target).is_file()
