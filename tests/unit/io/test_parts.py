import pandas as pd
import pytest

from circuitlapse.io.table_files import Parts
from circuitlapse.schemas import Schema

SCHEMA = Schema("numbers", keys=("a",), columns={"a": "int64"})


@pytest.fixture
def made():
    """Counts how often a part is made."""
    return []


@pytest.fixture
def get(tmp_path, made):
    def get(name="step1", key="same", number=1):
        def make():
            made.append(name)
            return SCHEMA.cast(pd.DataFrame({"a": [number]}))

        return Parts(tmp_path / "parts", SCHEMA).get(name, {"key": key}, make)["a"].tolist()

    return get


def test_a_part_is_made_once_and_then_kept_for_the_next_attempt(get, made):
    assert [get(), get(number=2), get("step2", number=3)] == [[1], [1], [3]]
    assert made == ["step1", "step2"]


def test_a_part_that_was_made_from_something_else_is_made_anew(get, made):
    assert [get(), get(key="other", number=2), get(key="other", number=3)] == [[1], [2], [2]]
    assert made == ["step1", "step1"]


def test_a_broken_part_is_made_anew(get, made, tmp_path):
    get()
    (tmp_path / "parts/step1.parquet").write_bytes(b"half of")
    assert get(number=2) == [2]


def test_an_attempt_that_fails_leaves_the_parts_that_were_done(get, tmp_path, made):
    def fail():
        raise RuntimeError("out of time")

    get()
    with pytest.raises(RuntimeError, match="out of time"):
        Parts(tmp_path / "parts", SCHEMA).get("step2", {"key": "same"}, fail)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["step1.parquet"]


def test_what_is_done_leaves_no_parts_and_may_never_have_had_any(get, tmp_path):
    get()
    for _ in range(2):
        Parts(tmp_path / "parts", SCHEMA).discard()
        assert not (tmp_path / "parts").exists()
