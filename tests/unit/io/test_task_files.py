from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from circuitlapse.errors import ArtifactError
from circuitlapse.io.table_files import write_parquet
from circuitlapse.io.task_files import read_task, write_task
from circuitlapse.tasks.base import Draft, Pair
from circuitlapse.tasks.encode import Task, encode
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric


@pytest.fixture
def task() -> Task:
    words = ["[UNK]", "So", "Mary", "John", "is", "she", "he", "it"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    first = Pair("So Mary is", "So John is", ("she", "it"), ("he",), "a", {"name": (3, 7)})
    second = Pair("Mary is it", "John is it", ("she",), ("he",), "b")
    return encode(
        Draft((first, second), {"names": 3}),
        Vocabulary(tokenizer),
        name="mine",
        metric=Metric.PROB_DIFF,
        builder="test",
        n_prompts=5,
        seed=7,
        prepend_bos=False,
        options={"corruption": "s2_to_io"},
    )


def test_what_is_read_is_what_was_written(task: Task, tmp_path: Path) -> None:
    write_task(tmp_path / "task.parquet", task, {"code": "x"})
    read = read_task(tmp_path / "task.parquet")
    pd.testing.assert_frame_equal(read.frame, task.frame)
    for field in fields(Task):
        if field.name != "frame":
            assert getattr(read, field.name) == getattr(task, field.name)
    assert isinstance(read.metric, Metric)
    assert read.content_hash == task.content_hash


def test_the_file_is_plain_typed_parquet_with_its_origin(task: Task, tmp_path: Path) -> None:
    write_task(tmp_path / "task.parquet", task, {"code": "x"})
    schema = pq.read_schema(tmp_path / "task.parquet")
    assert schema.field("clean_tokens").type == pa.list_(pa.int32())
    assert schema.field("end").type == pa.int32()
    assert schema.field("pos_name").type == pa.int32()
    assert json.loads(schema.metadata[b"circuitlapse"]) == {"code": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["task.parquet"]


def test_a_changed_cell_is_found_out(task: Task, tmp_path: Path) -> None:
    file = tmp_path / "task.parquet"
    write_task(file, task, {})
    table = pq.read_table(file)
    ends = pa.array([2, 1], pa.int32())
    changed = table.set_column(table.schema.get_field_index("end"), "end", ends)
    write_parquet(file, changed, {})
    with pytest.raises(
        ArtifactError, match=rf"task.parquet: .*expected content hash {task.content_hash}, found "
    ):
        read_task(file)


def test_files_that_are_no_task_are_named(task: Task, tmp_path: Path) -> None:
    text, other, old = (
        tmp_path / name for name in ("text.parquet", "other.parquet", "old.parquet")
    )
    text.write_text("no parquet")
    with pytest.raises(ArtifactError, match=r"text.parquet: incomplete, .*; delete it and run"):
        read_task(text)
    with pytest.raises(ArtifactError, match=r"missing.parquet: no such file \(relative"):
        read_task(tmp_path / "missing.parquet")
    write_parquet(other, pa.table({"a": [1]}), {})
    with pytest.raises(ArtifactError, match=r"other.parquet: not a task: the metadata has no"):
        read_task(other)
    write_task(old, task, {})
    table = pq.read_table(old)
    write_parquet(old, table.drop_columns("end"), {})
    with pytest.raises(
        ArtifactError, match=r"old.parquet: not a readable task of this version.*end"
    ):
        read_task(old)
