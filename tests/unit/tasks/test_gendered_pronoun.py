from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.words import FEMALE_NAMES, MALE_NAMES


def build(tokenizer: Tokenizer, n_prompts: int | None = None) -> Task:
    return build_task("gp", tokenizer, builder="gendered_pronoun", n_prompts=n_prompts, seed=3)


def names_of(task: Task, side: str) -> list[str]:
    return [text.split()[1] for text in task.frame[side]]


def assert_a_model_that_ignores_the_name_scores_zero(task: Task) -> None:
    """Then the logit difference depends on the rest alone, once with each sign."""
    signs: Counter[str] = Counter()
    for name, rest in zip(names_of(task, "clean"), task.frame["template"], strict=True):
        signs[rest] += 1 if name in FEMALE_NAMES else -1
    assert set(signs.values()) == {0}


def test_pythia_gets_exactly_one_hundred_prompts_of_ten_tokens(pythia: Tokenizer) -> None:
    frame = build(pythia).frame
    assert len(frame) == frame["clean"].nunique() == 100
    assert {len(tokens) for tokens in frame["clean_tokens"]} == {10}
    assert set(frame["end"]) == {9}


def test_each_of_ten_names_per_gender_occurs_with_each_description(pythia: Tokenizer) -> None:
    task = build(pythia)
    assert set(Counter(names_of(task, "clean")).values()) == {5}
    assert set(names_of(task, "clean")) == {*FEMALE_NAMES[:10], *MALE_NAMES[:10]}
    assert task.frame["template"].nunique() == 5


def test_she_is_right_for_women_and_the_corrupted_name_has_the_other_gender(
    pythia: Tokenizer,
) -> None:
    task = build(pythia)
    rows = zip(
        names_of(task, "clean"), names_of(task, "corrupted"), task.frame["correct"], strict=True
    )
    for clean, corrupted, correct in rows:
        assert (clean in FEMALE_NAMES) == (corrupted in MALE_NAMES)
        assert pythia.decode(list(correct)) == (" she" if clean in FEMALE_NAMES else " he")


def test_the_name_is_where_its_position_says(pythia: Tokenizer) -> None:
    task = build(pythia)
    for name, row in zip(names_of(task, "clean"), task.frame.itertuples(), strict=True):
        assert pythia.decode([row.clean_tokens[row.pos_name]]) == f" {name}"


@pytest.mark.parametrize("n_prompts", [None, 30])
def test_every_couple_is_a_group_of_twins(pythia: Tokenizer, n_prompts: int | None) -> None:
    frame = build(pythia, n_prompts).frame
    for _, couple in frame.groupby("group"):
        assert couple["clean"].tolist() == couple["corrupted"].tolist()[::-1]
    assert frame["group"].nunique() == len(frame) // 2


def test_names_are_matched_anew_for_every_description(pythia: Tokenizer) -> None:
    frame = build(pythia).frame
    matches = Counter(
        frozenset(text.split()[1] for text in pair)
        for pair in frame["clean"].groupby(frame["group"]).agg(tuple)
    )
    assert len(matches) > 25
    again = build(pythia).frame
    assert frame.equals(again)


@pytest.mark.parametrize("n_prompts", [None, 2, 30])
def test_genders_are_balanced_within_each_description(
    pythia: Tokenizer, n_prompts: int | None
) -> None:
    task = build(pythia, n_prompts)
    assert len(task) == (n_prompts or 100)
    assert_a_model_that_ignores_the_name_scores_zero(task)


def test_an_odd_number_is_rounded_down_and_counted(pythia: Tokenizer) -> None:
    task = build(pythia, 31)
    assert len(task) == 30
    assert task.dropped == {"prompts that were asked for but do not exist": 1}


def test_names_are_cut_to_the_rarer_gender(small: Tokenizer) -> None:
    task = build(small)  # knows four women, three men and two descriptions
    assert len(task) == 2 * 3 * 2
    assert_a_model_that_ignores_the_name_scores_zero(task)
    assert task.dropped == {
        "female names that are not one known token": 50 - 4,
        "male names that are not one known token": 49 - 3,
        "descriptions with unknown words": 5 - 2,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("So Mary John is such a good cook, isn't she", "does not have ' she' and ' he'"),
        ("So Mary is such a good cook, isn't she he", "lacks all names of a gender"),
        ("So Mary John is such a cook, isn't she he", "or words of every description"),
    ],
)
def test_missing_words_are_named(
    make_tokenizer: Callable[..., Tokenizer], text: str, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        build(make_tokenizer(text))
