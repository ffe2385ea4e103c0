from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.repetition import N_WORDS, REPEATED
from circuitlapse.tasks.words import REPEATED_WORDS


def build(tokenizer: Tokenizer, n_prompts: int | None = 200) -> Task:
    return build_task("mine", tokenizer, builder="repetition", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_the_answer_is_the_word_that_came_after_the_last_one_before(task: Task) -> None:
    """In the clean prompt; in the corrupted one it is the wrong answer."""
    for row in task.frame.itertuples():
        for tokens, expected in (
            (row.clean_tokens, row.correct),
            (row.corrupted_tokens, row.wrong),
        ):
            before = tokens.index(tokens[-1])
            assert before < len(tokens) - 1
            assert (tokens[before + 1],) == expected


def test_counting_words_does_not_tell_the_answers_apart(task: Task) -> None:
    for row in task.frame.itertuples():
        for tokens in (row.clean_tokens, row.corrupted_tokens):
            assert tokens.count(row.correct[0]) == tokens.count(row.wrong[0]) == 1
        assert sorted(row.clean_tokens) == sorted(row.corrupted_tokens)


def test_lists_have_ten_words_and_begin_anew(task: Task) -> None:
    lengths = set()
    for tokens in task.frame["clean_tokens"]:
        repeated = len(tokens) - N_WORDS
        assert len(set(tokens)) == N_WORDS
        assert tokens[N_WORDS:] == tokens[:repeated]
        lengths.add(repeated)
    assert lengths == set(range(REPEATED[0], REPEATED[1] + 1))


def test_all_words_are_one_token_of_pythia(task: Task) -> None:
    assert task.dropped == {}
    assert len(set(REPEATED_WORDS)) == len(REPEATED_WORDS)


def test_a_tokenizer_with_ten_words_is_enough(make_tokenizer: Callable[..., Tokenizer]) -> None:
    assert len(build(make_tokenizer(" ".join(REPEATED_WORDS[:10])), 10)) == 10
    with pytest.raises(TaskError, match="needs 10 words of one token each, found 9"):
        build(make_tokenizer(" ".join(REPEATED_WORDS[:9])))


def test_prompts_drawn_at_random_need_a_number(pythia: Tokenizer) -> None:
    with pytest.raises(TaskError, match="give n_prompts"):
        build(pythia, None)
