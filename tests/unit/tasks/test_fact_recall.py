from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.words import CAPITAL_FRAMES, CAPITALS


def build(tokenizer: Tokenizer, n_prompts: int | None = None) -> Task:
    return build_task("mine", tokenizer, builder="fact_recall", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_the_answers_are_the_capitals_of_the_two_countries(task: Task, pythia: Tokenizer) -> None:
    capitals = dict(CAPITALS)
    for row in task.frame.itertuples():
        for text, expected in ((row.clean, row.correct), (row.corrupted, row.wrong)):
            (country,) = (land for land in capitals if f" {land}" in text)
            assert pythia.decode(list(expected)) == f" {capitals[country]}"


def test_all_prompts_are_every_country_in_every_frame(task: Task) -> None:
    """With Pythia's tokenizer: 34 or more countries, so enough groups for two halves."""
    known = len(CAPITALS) - task.dropped.popitem()[1]
    assert known >= 30
    assert len(task) == known // 2 * 2 * len(CAPITAL_FRAMES)
    assert task.frame["clean"].nunique() == len(task)
    assert task.frame["template"].value_counts().nunique() == 1


def test_a_number_of_prompts_takes_whole_couples(pythia: Tokenizer) -> None:
    assert len(build(pythia, 41)) == 40


def test_every_country_and_capital_is_listed_once() -> None:
    assert len(dict(CAPITALS)) == len(CAPITALS) == len({city for _, city in CAPITALS})
    assert all(len(fact) == 2 for fact in CAPITALS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("France Paris Germany", "needs two countries .* the tokenizer has 1$"),
        ("France Paris Germany Berlin", "does not know all words of any frame of fact_recall"),
    ],
)
def test_a_tokenizer_without_the_words_is_refused(
    make_tokenizer: Callable[..., Tokenizer], text: str, problem: str
) -> None:
    with pytest.raises(TaskError, match=problem):
        build(make_tokenizer(text))


def test_frames_with_unknown_words_are_left_out(make_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = make_tokenizer("France Paris Germany Berlin capital of is the city", "The")
    task = build(tokenizer)
    assert task.frame["clean"].tolist() == [
        f"The capital of {country} is the city of"
        for country in task.frame["clean"].str.split().str[3]
    ]
    assert task.dropped["frames with unknown words"] == len(CAPITAL_FRAMES) - 1
