from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Draft, Pair
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task, encode, groups_of
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric

GOOD = Pair(
    clean="So Mary is",
    corrupted="So John is",
    correct=(" she",),
    wrong=(" he",),
    spans={"name": (3, 7)},
)


@pytest.fixture(scope="module")
def vocabulary(make_tokenizer: Callable[..., Tokenizer]) -> Vocabulary:
    return Vocabulary(make_tokenizer("So Mary Sarah John is she he it then"))


def make_task(pairs: list[Pair], vocabulary: Vocabulary, **changes: Any) -> Task:
    settings: dict[str, Any] = {
        "name": "mine",
        "metric": Metric.LOGIT_DIFF,
        "builder": "test",
        "n_prompts": None,
        "seed": 0,
        "prepend_bos": False,
        "options": {},
    }
    return encode(Draft(tuple(pairs), {}), vocabulary, **settings | changes)


def test_fewer_than_two_pairs_are_no_task(vocabulary: Vocabulary) -> None:
    with pytest.raises(TaskError, match="there are 1 prompt pairs; at least 2 are needed"):
        make_task([GOOD], vocabulary)


def test_tokens_ends_answers_and_positions_match_the_text(vocabulary: Vocabulary) -> None:
    frame = make_task([GOOD, replace(GOOD, spans={})], vocabulary).frame
    first = frame.iloc[0]
    tokens = vocabulary.tokenizer.get_vocab()
    assert first["clean_tokens"] == (tokens["So"], tokens[" Mary"], tokens[" is"])
    assert first["corrupted_tokens"] == (tokens["So"], tokens[" John"], tokens[" is"])
    assert (first["correct"], first["wrong"]) == ((tokens[" she"],), (tokens[" he"],))
    assert (first["end"], first["pos_name"]) == (2, 1)
    assert frame["pos_name"].isna().tolist() == [False, True]
    assert str(frame["pos_name"].dtype) == "Int32"


def test_bos_comes_first_and_shifts_every_position_by_one(vocabulary: Vocabulary) -> None:
    without = make_task([GOOD, GOOD], vocabulary).frame.iloc[0]
    with_bos = make_task([GOOD, GOOD], vocabulary, prepend_bos=True).frame.iloc[0]
    for side in ("clean_tokens", "corrupted_tokens"):
        assert with_bos[side] == (vocabulary.bos_id, *without[side])
    assert (with_bos["end"], with_bos["pos_name"]) == (without["end"] + 1, without["pos_name"] + 1)
    assert (with_bos["correct"], with_bos["wrong"]) == (without["correct"], without["wrong"])


def test_a_prompt_with_its_own_bos_gets_no_second_one(vocabulary: Vocabulary) -> None:
    """Neither its tokens nor the positions of its words move."""
    own = replace(
        GOOD, clean="<bos>So Mary is", corrupted="<bos>So John is", spans={"name": (8, 12)}
    )
    frame = make_task([GOOD, own], vocabulary, prepend_bos=True).frame
    for column in ("clean_tokens", "corrupted_tokens", "end", "pos_name"):
        assert frame[column][0] == frame[column][1]
    assert frame["pos_name"][0] == 2


def test_prompts_that_do_not_exist_are_counted(vocabulary: Vocabulary) -> None:
    task = make_task([GOOD, GOOD], vocabulary, n_prompts=7)
    assert task.dropped == {"prompts that were asked for but do not exist": 5}


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


def pairs_of(*texts: str, groups: str = "") -> list[Pair]:
    """Return a pair for each text such as "ab": clean "a", corrupted "b"."""
    names = groups or " " * len(texts)
    return [
        replace(GOOD, clean=clean, corrupted=corrupted, group=name.strip())
        for (clean, corrupted), name in zip(texts, names, strict=True)
    ]


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (("ab", "cd", "ef"), [0, 1, 2]),
        (("ab", "cd", "ba"), [0, 1, 0]),
        (("ab", "ab", "cd"), [0, 0, 1]),  # a prompt that is there twice
        (("ab", "ac", "de"), [0, 0, 1]),  # two corruptions of one clean prompt
        (("ab", "cb", "de"), [0, 1, 2]),  # one corruption of two prompts is no swap
        (("ab", "bc", "cd"), [0, 1, 2]),  # swapped on one side only
        (("xy", "ab", "bc", "ba", "cb", "de"), [0, 1, 1, 1, 1, 2]),  # a chain: ab-ba-bc-cb
    ],
)
def test_pairs_whose_texts_are_swapped_are_twins(texts: tuple[str, ...], groups: list[int]) -> None:
    assert groups_of(pairs_of(*texts)) == groups
    backwards = [groups[index] for index in reversed(range(len(texts)))]
    assert groups_of(pairs_of(*reversed(texts))) == [
        list(dict.fromkeys(backwards)).index(number) for number in backwards
    ]


def test_named_groups_override_twins_and_a_pair_without_a_name_is_alone() -> None:
    assert groups_of(pairs_of("ab", "ba", "cd", "ef", "gh", groups="xyx  ")) == [0, 1, 0, 2, 3]


def test_copies_of_a_pair_without_a_name_are_one_group() -> None:
    assert groups_of(pairs_of("ab", "cd", "ef", "cd", groups="x   ")) == [0, 1, 2, 1]


def test_a_task_has_the_groups_of_its_pairs(vocabulary: Vocabulary) -> None:
    swapped = replace(GOOD, clean=GOOD.corrupted, corrupted=GOOD.clean)
    other = replace(GOOD, clean="So Sarah is")
    frame = make_task([GOOD, other, swapped], vocabulary).frame
    assert frame["group"].tolist() == [0, 1, 0]
    assert str(frame["group"].dtype) == "int32"
