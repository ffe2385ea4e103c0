"""Damage of files that no job reads: the manifest of the run names them."""

from __future__ import annotations

import shutil

import pytest

from circuitlapse.manifest.job_record import Manifest
from circuitlapse.manifest.differences import Comparison, Expected
from tests.damage import DAMAGES, clear

KIND = "files that nobody reads"
pytestmark = pytest.mark.faults

RESULTS = "results-smoke"
FILES = (
    "tables/behaviour.csv",
    "tables/transfer.csv",
    "figures/circuits.pdf",
    "figures/behaviour.png",
    "explorer.html",
    "corpus/pocket/train.txt",
)
FOREIGN = (
    "weights/pocket-tiny/step400.h5",
    "behaviour/pocket-tiny/ioi/step400.parquet",
    "circuits/pocket-tiny/sva/step400.h5",
    "heads/pocket-tiny/step400.parquet",
    "algorithm/pocket-tiny/step400/roles.parquet",
    "transfer/pocket-tiny.parquet",
    "swaps/pocket-tiny.parquet",
    "tables/stability.parquet",
    "tables/stability.csv",
    "figures/stability.png",
)
"""Files that are whole, but of another run: their readers do not ask whose they are."""


def named(copied):
    """Return the paths that differ from the manifest."""
    manifest = Manifest.read(copied.folder / RESULTS)
    asked = Expected(final=frozenset(FILES))
    return {one.path for one in Comparison(manifest, asked).differences}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_and_no_other_one(copied, rng, file, damage):
    before = named(copied)
    DAMAGES[damage](copied.folder / RESULTS / file, rng)
    assert {path.removesuffix("/inside") for path in named(copied) - before} == {file}


@pytest.mark.parametrize("file", FOREIGN)
def test_a_file_of_another_run_is_named(copied, other, file):
    source = other / RESULTS / file
    if not source.exists():
        pytest.skip("that run stopped at its tables")
    clear(copied.folder / RESULTS / file)
    shutil.copyfile(source, copied.folder / RESULTS / file)
    assert file in named(copied)
