from __future__ import annotations

from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.table_files import (
    Parts,
    read_provenance,
    read_table,
    write_parquet,
    write_table,
)
from circuitlapse.processes import Process, host
from circuitlapse.schemas import Schema
from tests.damage import DAMAGES

SCHEMA = Schema(
    name="example",
    keys=("model",),
    columns={
        "model": "str",
        "port": "str",
        "value": "float64",
        "score": "float32",
        "n": "Int32",
        "ok": "bool",
    },
)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = {
        "model": ["small", "large"],
        "port": ["q", ""],
        "value": [1 / 3, np.nan],
        "score": [0.1, -2.0],
        "n": [7, None],
        "ok": [True, False],
    }
    return SCHEMA.cast(pd.DataFrame(rows))


def test_a_table_reads_back_as_it_was_written(frame, tmp_path):
    write_table(tmp_path / "a.parquet", frame, provenance={})
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet", SCHEMA), frame)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_csv_has_nine_digits_and_says_what_is_missing(frame, tmp_path):
    write_table(tmp_path / "a.parquet", frame, provenance={}, csv=tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == (
        b"model,port,value,score,n,ok\n"
        b"small,q,0.333333333,0.100000001,7,True\n"
        b"large,,NaN,-2,NaN,False\n"
    )


def test_the_same_frame_gives_the_same_bytes(frame, tmp_path):
    for name in "ab":
        provenance = {"seed": 1, "code": "x"} if name == "a" else {"code": "x", "seed": 1}
        folder = tmp_path / name
        write_table(folder / "t.parquet", frame.copy(), provenance=provenance, csv=folder / "t.csv")
    for file in ("t.parquet", "t.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_provenance_travels_with_the_table(frame, tmp_path):
    origin = {"config": "abc", "seeds": [1, 2]}
    write_table(tmp_path / "a.parquet", frame, provenance=origin)
    assert read_provenance(tmp_path / "a.parquet") == origin


def test_a_parquet_file_of_unknown_origin_is_refused(frame, tmp_path):
    write_parquet(tmp_path / "a.parquet", pa.Table.from_pandas(frame), {})
    with pytest.raises(ArtifactError, match=r"a\.parquet: expected provenance in the meta"):
        read_provenance(tmp_path / "a.parquet")


def test_a_wrong_dtype_names_file_column_expected_and_found(frame, tmp_path):
    write_table(tmp_path / "a.parquet", frame.astype({"value": "float32"}), provenance={})
    message = r"a\.parquet: .*column 'value' is float32, expected float64"
    with pytest.raises(ArtifactError, match=message):
        read_table(tmp_path / "a.parquet", SCHEMA)


def test_a_missing_column_is_named(frame, tmp_path):
    write_table(tmp_path / "a.parquet", frame.drop(columns="n"), provenance={})
    with pytest.raises(ArtifactError, match="column 'n' is missing, expected Int32"):
        read_table(tmp_path / "a.parquet", SCHEMA)


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_text("model,value\n")
    with pytest.raises(ArtifactError, match=r"a\.parquet: incomplete, .*; delete it and run"):
        read_table(tmp_path / "a.parquet", SCHEMA)


PART = Schema("numbers", keys=("a",), columns={"a": "int64"})


@pytest.fixture
def made():
    """Counts how often a part is made."""
    return []


@pytest.fixture
def get(tmp_path, made):
    def get(name="step1", key="same", number=1):
        def make():
            made.append(name)
            return PART.cast(pd.DataFrame({"a": [number]}))

        return Parts(tmp_path / "parts", PART).get(name, {"key": key}, make)["a"].tolist()

    return get


def test_a_part_is_made_once_and_reused(get, made):
    assert [get(), get(number=2), get("step2", number=3)] == [[1], [1], [3]]
    assert made == ["step1", "step2"]


def test_a_part_with_another_provenance_is_made_again(get, made):
    assert [get(), get(key="other", number=2), get(key="other", number=3)] == [[1], [2], [2]]
    assert made == ["step1", "step1"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_in_the_place_of_a_part_is_removed_and_made_again(
    get, made, tmp_path, damage, caplog
):
    part = tmp_path / "parts/step1.parquet"
    get()
    DAMAGES[damage](part, Random(0))
    assert get(number=2) == [2]
    assert get(number=3) == [2]
    assert made == ["step1", "step1"]
    assert [path.name for path in part.parent.iterdir()] == [part.name]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (damage != "remove")
    assert all(one.startswith(f"{part}: ") and one.endswith("; made again") for one in said)


@pytest.mark.parametrize("damage", ["junk", "dangling_link", "loop", "pipe"])
def test_whatever_is_in_the_place_of_the_folder_of_parts_is_removed(get, made, tmp_path, damage):
    DAMAGES[damage](tmp_path / "parts", Random(0))
    assert [get(), get(number=2)] == [[1], [1]]


def test_parts_begin_without_what_a_killed_writer_left(get, tmp_path):
    dead = ".".join(map(str, Process(host(), pid=2**22, started=0)))
    left = tmp_path / f"parts/.step7.parquet.{dead}.abcd1234"
    left.mkdir(parents=True)
    (left / "step7.parquet").write_bytes(b"half of")
    get()
    assert [path.name for path in left.parent.iterdir()] == ["step1.parquet"]


def test_a_failed_attempt_keeps_its_finished_parts(get, tmp_path, made):
    def fail():
        raise RuntimeError("out of time")

    get()
    with pytest.raises(RuntimeError, match="out of time"):
        Parts(tmp_path / "parts", PART).get("step2", {"key": "same"}, fail)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["step1.parquet"]


@pytest.mark.parametrize("numbers", [[2, 1], []])
def test_a_finished_job_has_all_parts_in_one_table_and_leaves_none(get, tmp_path, numbers):
    for number in numbers:
        get(f"step{number}", number=number)
    tables = [PART.cast(pd.DataFrame({"a": [number]})) for number in numbers]
    Parts(tmp_path / "parts", PART).finish(tmp_path / "all.parquet", tables, provenance={})
    assert read_table(tmp_path / "all.parquet", PART)["a"].tolist() == numbers
    assert not (tmp_path / "parts").exists()
