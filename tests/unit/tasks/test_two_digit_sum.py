from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.words import SUM_FRAMES


def build(tokenizer: Tokenizer, n_prompts: int | None = 300) -> Task:
    return build_task("mine", tokenizer, builder="two_digit_sum", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_the_answers_are_the_sums(task: Task, pythia: Tokenizer) -> None:
    for row in task.frame.itertuples():
        for text, expected in ((row.clean, row.correct), (row.corrupted, row.wrong)):
            first, second = map(int, re.findall(r"\d+", text))
            assert pythia.decode(list(expected)) == f" {first + second}"


def test_only_the_second_number_changes_and_all_numbers_have_two_digits(task: Task) -> None:
    for row in task.frame.itertuples():
        pairs = zip(row.clean_tokens, row.corrupted_tokens, strict=True)
        assert sum(clean != corrupted for clean, corrupted in pairs) == 1
        numbers = [re.findall(r"\d+", text) for text in (row.clean, row.corrupted)]
        assert numbers[0][0] == numbers[1][0]
        assert all(len(number) == 2 for side in numbers for number in side)


def test_frames_and_sums_vary(task: Task) -> None:
    assert task.dropped == {}
    assert task.frame["template"].nunique() == len(SUM_FRAMES)
    assert task.frame["correct"].nunique() > 50


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("The sum of and is", "too few two-digit numbers as one token each"),
        (" 11 22 11 22", "too few two-digit numbers as one token each"),
        (" 11 12 13 24 25" + "".join(map(str, (11, 12, 13, 24, 25))), "any frame of two_digit_sum"),
    ],
)
def test_a_tokenizer_without_the_words_is_refused(
    make_tokenizer: Callable[..., Tokenizer], text: str, problem: str
) -> None:
    with pytest.raises(TaskError, match=problem):
        build(make_tokenizer(text))


def test_prompts_drawn_at_random_need_a_number(pythia: Tokenizer) -> None:
    with pytest.raises(TaskError, match="give n_prompts"):
        build(pythia, None)
