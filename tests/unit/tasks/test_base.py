from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Task
from circuitlapse.tasks.registry import build_task
from circuitlapse.types import Metric


@pytest.fixture(scope="module")
def task(small: Tokenizer) -> Task:
    return build_task("mine", small, builder="sva", n_prompts=20, seed=1)


def test_the_hash_is_the_same_for_equal_content_in_another_column_order(task: Task) -> None:
    columns = sorted(task.frame.columns, reverse=True)
    assert replace(task, frame=task.frame[columns].copy()).content_hash == task.content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"name": "yours"},
        {"metric": Metric.LOGIT_DIFF},
        {"builder": "custom"},
        {"prepend_bos": True},
        {"seed": 2},
        {"options": {"corruption": "s2_to_io"}},
        {"tokenizer_hash": "0"},
        {"dropped": {}},
    ],
)
def test_the_hash_changes_with_every_part_of_the_header(task: Task, change: dict[str, Any]) -> None:
    assert replace(task, **change).content_hash != task.content_hash


def test_the_hash_changes_with_any_cell(task: Task) -> None:
    hashes = {task.content_hash}
    for column in task.frame:
        frame = task.frame.copy()
        frame[column] = [*frame[column][1:], frame[column][0]]
        hashes.add(replace(task, frame=frame).content_hash)
    same = {column for column in task.frame if task.frame[column].map(str).nunique() == 1}
    assert len(hashes) == 1 + len(task.frame.columns) - len(same)
    assert not same & {"clean", "clean_tokens", "corrupted_tokens", "correct", "wrong", "end"}


def test_the_hash_changes_with_the_order_of_the_rows(task: Task) -> None:
    assert replace(task, frame=task.frame[::-1]).content_hash != task.content_hash


def test_a_table_without_a_column_is_no_task(task: Task) -> None:
    with pytest.raises(TaskError, match="the table has no column end"):
        replace(task, frame=task.frame.drop(columns="end"))
