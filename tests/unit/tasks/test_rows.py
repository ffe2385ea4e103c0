"""Rows of files of prompts, as they stand there."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from circuitlapse.tasks.layouts import OWN
from circuitlapse.tasks.rows import READERS, SHOWN, missing

CELLS = {"clean": "a b", "corrupted": "a c", "correct": ["d"], "wrong": ["e"]}


def written(folder, suffix):
    path = folder / f"mine{suffix}"
    if suffix == ".csv":
        path.write_text("clean,corrupted,correct,wrong\n" + 3 * "a b,a c,d,e\n")
    elif suffix == ".jsonl":
        path.write_text(3 * f"{json.dumps(CELLS)}\n")
    elif suffix == ".json":
        path.write_text(json.dumps(3 * [CELLS]))
    else:
        pq.write_table(pa.Table.from_pylist(3 * [CELLS]), path, row_group_size=2)
    return path


@pytest.mark.parametrize("suffix", READERS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, suffix):
    rows = list(READERS[suffix](written(tmp_path, suffix)))
    assert [row.cells for row in rows] == 3 * [CELLS]
    first = 2 if suffix == ".csv" else 1
    assert [row.line for row in rows] == [first, first + 1, first + 2]


def test_of_many_columns_the_first_ones_are_named():
    columns = [f"column {number}" for number in range(10**5)]
    found = missing(columns, OWN)
    assert "column 79, ..." in found
    assert len(found) < 20 * SHOWN
