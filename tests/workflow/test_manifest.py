"""`make verify`: every result of a run is still what its job wrote, or is named and remade."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitlapse.manifest.job_record import Manifest
from tests.workflow.conftest import ROOT, Workflow
from tests.workflow.test_smoke import RESULTS, files_in

CHEAP = (
    "tables/behaviour.csv",
    "tables/transfer.parquet",
    "figures/behaviour.png",
    "figures/swaps.pdf",
    "figures/circuit_diagram/pocket-tiny/sva/step400.png",
    "explorer.html",
)
"""Files of several kinds, with jobs that take little time."""
DEAR = (
    "circuits/pocket-tiny/sva/step400.h5",
    "weights/pocket-tiny/step100.h5",
    "corpus/pocket/train.npz",
    "corpus/pocket/train.txt",
    "models/pocket-tiny/step200/model.safetensors",
    "models/pocket-tiny/step100/tokenizer.json",
    "verified/pocket-tiny/first.json",
)
REMADE = {
    *("trace_algorithm/pocket-tiny/step400", "plot_circuit_diagram/pocket-tiny/sva/step400"),
    *(f"aggregate_{name}" for name in ("behaviour", "transfer", "swaps", "algorithm")),
    *(f"plot_{name}" for name in ("behaviour", "transfer", "swaps")),
    "build_explorer",
}
"""The jobs that make the first of these and whatever else the test damages."""
REMADE_TOO = {
    *("make_corpus/pocket", "train_suite/pocket-tiny", "verify_model/pocket-tiny"),
    *("cache_activations/pocket-tiny/step400", "discover_circuit/pocket-tiny/step400"),
}


def verify(workflow: Workflow, *, repair: bool = False) -> subprocess.CompletedProcess[str]:
    """Do what `make verify` does, in the folder of a run."""
    snakemake = [str(Path(sys.executable).parent / "snakemake"), *workflow.command()[3:]]
    command = [sys.executable, "-m", "circuitlapse.manifest", "config/smoke.yaml"]
    return subprocess.run(
        command + ["--repair", *snakemake] * repair,
        cwd=workflow.folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("repair", "options"),
    [
        ("", ""),
        ("0", ""),
        ("1", "--repair .venv/bin/snakemake --workflow-profile workflow/profiles/local"),
        ("cluster", '--repair .venv/bin/snakemake --workflow-profile "workflow/profiles/slurm"'),
    ],
)
def test_make_verify_gives_the_configuration_and_on_request_snakemake(repair, options):
    command = [
        "make",
        "--no-print-directory",
        "-n",
        "-o",
        ".venv/.ready",
        "verify",
        "CONFIG=a b.yaml",
        f"REPAIR={repair}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = " ".join(done.stdout.replace("\\\n", "").split())
    assert said.startswith('.venv/bin/python -m circuitlapse.manifest "a b.yaml"')
    assert said.partition('"a b.yaml"')[2].strip().startswith(options)
    assert ("--repair" in said) == bool(options)


@pytest.mark.parametrize("repair", ["no", "yes", "2", "1 cluster"])
def test_make_verify_refuses_other_values_of_repair(repair):
    command = [
        "make",
        "--no-print-directory",
        "-n",
        "-o",
        ".venv/.ready",
        "verify",
        f"REPAIR={repair}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert f"REPAIR={repair}: expected 1, cluster or 0" in done.stderr


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def ends(results: Path) -> dict[str, int]:
    """Return when each job ended."""
    return {name: job.ended_ns for name, job in Manifest.read(results).records.items()}


def named(output: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in output.splitlines())


def test_a_finished_run_is_as_written(finished):
    done = verify(finished)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    n_files = len(files_in(finished.folder / RESULTS))
    assert line == f"{n_files} files, all as written"
    assert n_files > 100


@pytest.mark.parametrize(
    ("flipped", "remade"),
    [
        pytest.param(CHEAP, REMADE, id="cheap"),
        pytest.param((*CHEAP, *DEAR), REMADE | REMADE_TOO, id="all", marks=pytest.mark.faults),
    ],
)
def test_whatever_was_changed_is_named_and_remade_and_nothing_else(copied, flipped, remade):
    results = copied.folder / RESULTS
    before, ended = files_in(results), ends(results)
    for path in flipped:
        flip_a_bit(results / path)
    gone, folder = "tables/swaps.csv", "tables/s2i.csv"
    step, other = (f"algorithm/pocket-tiny/step{step}/roles.parquet" for step in (100, 400))
    (results / gone).unlink()
    (results / folder).unlink()
    (results / folder).mkdir()
    (results / folder / "inside.txt").touch()
    shutil.copy(results / step, results / other)
    (results / "tables/a b\n.csv").write_text("of somebody else")
    (results / "figures/.x.png.host.4194304.0.abcdefgh").mkdir()
    (results / "figures/.x.png.host.4194304.0.abcdefgh/x.png").write_bytes(b"half")
    record = "manifest/plot_transfer.json"
    flip_a_bit(results / record)
    done = verify(copied)
    assert done.returncode == 1
    found = named(done.stdout)
    of_record = {"figures/transfer.pdf", "figures/transfer.png"}
    expected = {*flipped, gone, folder, other, record, *of_record, "tables/a b\\n.csv"}
    half = "figures/.x.png.host.4194304.0.abcdefgh/x.png"
    assert found.keys() == expected | {half}
    assert all("changed" in found[path] for path in flipped)
    assert found[gone].startswith("missing")
    assert "a folder" in found[folder]
    assert "another" in found[other]
    assert found[record].startswith("damaged")
    assert found["tables/a b\\n.csv"] == "unknown to the manifest"
    assert found[half].startswith("half-written")

    repaired = verify(copied, repair=True)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert repaired.stdout.splitlines()[-1].endswith("files, all as written")
    after = files_in(results)
    aside = {path for path in after if path.parts[0] == "set_aside"}
    assert after.keys() - aside == before.keys()
    assert [path for path in before if after[path] != before[path]] == []
    assert (results / "set_aside/tables/a b\n.csv").read_text() == "of somebody else"
    now = ends(results)
    assert {job for job in now if now[job] != ended[job]} == remade
    assert copied.jobs() == {}


@pytest.mark.parametrize("kind", ["emptied", "deleted"])
def test_without_a_manifest_nothing_is_repaired(copied, kind):
    manifest = copied.folder / RESULTS / "manifest"
    shutil.rmtree(manifest)
    if kind == "emptied":
        manifest.mkdir()
    before = files_in(copied.folder / RESULTS)
    done = verify(copied, repair=True)
    assert done.returncode != 0
    assert "no manifest" in done.stderr
    assert files_in(copied.folder / RESULTS) == before


def test_a_whole_input_of_another_run_stops_a_run_before_its_first_job(copied):
    results = copied.folder / RESULTS
    replaced, table = results / "circuits/pocket-tiny/sva/step400.h5", "tables/circuit_summary"
    before = files_in(results)
    (results / f"{table}.parquet").unlink()
    content = replaced.read_bytes()
    replaced.write_bytes((replaced.parent / "step100.h5").read_bytes())
    said = copied.run(f"{RESULTS}/{table}.parquet", "--rerun-triggers", "mtime", ok=False)
    assert f"{RESULTS}/circuits/pocket-tiny/sva/step400.h5: not as it was written" in said
    assert "Traceback" not in said
    assert not (results / f"{table}.parquet").exists()
    replaced.write_bytes(content)
    copied.run(f"{RESULTS}/{table}.parquet")
    assert files_in(results).items() >= before.items()
