"""Whole runs of the smoke configuration that are killed or find damage, and are started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest

from tests.damage import DAMAGES, clear
from tests.faults.replaying import content_of

KIND = "whole runs"
pytestmark = pytest.mark.faults

RESULTS = "results-smoke"
TABLES = ("tables", "circuits", "heads", "behaviour", "algorithm", "transfer", "swaps")
AGAIN = (
    ("circuits/pocket-tiny/ioi", "tables"),
    ("heads/pocket-tiny", "algorithm/pocket-tiny", "swaps"),
    ("tasks/pocket/sva.parquet", "transfer"),
    ("models/pocket-tiny",),
)
"""What is missing, and so made, while a run is killed."""
DAMAGED = (
    *("corpus/pocket/train.npz", "models/pocket-tiny/step400/model.safetensors"),
    *("models/pocket-tiny/step400/config.json", "verified/pocket-tiny/first.json"),
    *("tasks/pocket/ioi.parquet", "circuits/pocket-tiny/sva/step400.h5"),
    *("heads/pocket-tiny/step400.parquet", "tables/circuit_summary.parquet"),
)


def tables_of(folder):
    found = content_of(folder / RESULTS)
    return {name: held for name, held in found.items() if name.split("/")[0] in TABLES}


def assert_same(workflow, expected):
    """Compare all tables, and of what they were made from whatever is there.

    Snakemake makes a file that it deleted for a job that did not end only if a table needs it.
    """
    found = tables_of(workflow.folder)
    missing = [name for name in expected if name not in found and name.startswith("tables/")]
    changed = [name for name in found if name in expected and found[name] != expected[name]]
    assert (missing, changed) == ([], [])


def start_again(workflow):
    """Unlock a folder, and run to the end."""
    workflow.run("--unlock")
    return workflow.run("tables")


@pytest.mark.parametrize("again", AGAIN, ids="+".join)
def test_a_killed_run_ends_with_the_same_tables_when_it_is_started_again(copied, rng, again):
    expected = tables_of(copied.folder)
    for path in again:
        clear(copied.folder / RESULTS / path)
    process = subprocess.Popen(
        copied.command("tables"),
        cwd=copied.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    time.sleep(rng.uniform(3, 20))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    start_again(copied)
    assert_same(copied, expected)
    left = [path for path in (copied.folder / RESULTS).rglob(".*") if path.is_dir()]
    assert [path for path in left if not path.name.endswith(".parts")] == []


@pytest.mark.parametrize(("file", "damage"), zip(DAMAGED, ["flip", "folder"] * 4, strict=True))
def test_a_run_over_a_damaged_file_gives_the_same_tables_or_names_it(copied, rng, file, damage):
    """Once what is named is deleted, the same command gives the same tables.

    Of a model that is its folder, which Snakemake knows; it does not look inside.
    """
    expected = tables_of(copied.folder)
    path = copied.folder / RESULTS / file
    DAMAGES[damage](path, rng)
    done = subprocess.run(
        copied.command("tables"),
        cwd=copied.folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        assert "Traceback" not in done.stdout + done.stderr
        assert re.search(rf"Error: [^\n]*{RESULTS}/{file}", done.stderr), done.stderr
        clear(path.parent if file.startswith("models/") else path)
        start_again(copied)
    assert_same(copied, expected)
