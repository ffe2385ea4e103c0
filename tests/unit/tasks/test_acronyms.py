from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.words import ACRONYM_WORDS


def build(tokenizer: Tokenizer, n_prompts: int | None = 200) -> Task:
    return build_task("mine", tokenizer, builder="acronyms", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_the_answer_is_the_last_letter_of_the_acronym(task: Task, pythia: Tokenizer) -> None:
    for row in task.frame.itertuples():
        for text, expected in ((row.clean, row.correct), (row.corrupted, row.wrong)):
            found = re.fullmatch(r"The (\w)\w+ (\w)\w+ (\w)\w+ \((\w\w)", text)
            assert found is not None
            first, second, third, letters = found.groups()
            assert letters == first + second
            assert pythia.decode(list(expected)) == third


def test_the_answer_is_the_next_token_of_running_text(task: Task, pythia: Tokenizer) -> None:
    for row in task.frame.itertuples():
        whole = pythia.encode(f"{row.clean}{pythia.decode(list(row.correct))})").ids
        assert whole[: len(row.clean_tokens) + 1] == [*row.clean_tokens, *row.correct]


def test_only_the_third_word_changes(task: Task) -> None:
    for row in task.frame.itertuples():
        pairs = zip(row.clean_tokens, row.corrupted_tokens, strict=True)
        assert [clean == corrupted for clean, corrupted in pairs] == [
            place != 3 for place in range(len(row.clean_tokens))
        ]


def test_all_words_are_one_token_of_pythia_and_the_answers_vary(task: Task) -> None:
    assert task.dropped == {}
    assert task.frame["correct"].nunique() > 10
    assert all(len(set(words)) == len(words) for words in ACRONYM_WORDS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("The Health Agency (NHA", "lacks the words of acronyms, or cannot write their letters"),
        ("The National Health Agency", "lacks the words of acronyms, or cannot write"),
        ("The National Health Agency Board  (NH", "no acronym whose last letter is a token"),
    ],
)
def test_a_tokenizer_without_the_words_or_the_letters_is_refused(
    make_tokenizer: Callable[..., Tokenizer], text: str, problem: str
) -> None:
    with pytest.raises(TaskError, match=problem):
        build(make_tokenizer(text, " "))


def test_prompts_drawn_at_random_need_a_number(pythia: Tokenizer) -> None:
    with pytest.raises(TaskError, match="give n_prompts"):
        build(pythia, None)
