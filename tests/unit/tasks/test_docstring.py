from __future__ import annotations

import ast
import re
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.words import ARGUMENTS, REPEATED_WORDS


def build(tokenizer: Tokenizer, n_prompts: int | None = 100) -> Task:
    return build_task("mine", tokenizer, builder="docstring", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_the_answer_is_the_argument_that_is_described_next(task: Task, pythia: Tokenizer) -> None:
    """According to Python's own parser."""
    for row in task.frame.itertuples():
        for text, expected in ((row.clean, row.correct), (row.corrupted, row.wrong)):
            (function,) = ast.parse(f'{text}"""').body
            assert isinstance(function, ast.FunctionDef)
            names = [argument.arg for argument in function.args.args]
            described = re.findall(r":param (\w+):", ast.get_docstring(function) or "")
            assert names[2:4] == described
            assert pythia.decode(list(expected)) == f" {names[4]}"


def test_only_the_last_two_arguments_change_places(task: Task) -> None:
    for row in task.frame.itertuples():
        pairs = zip(row.clean_tokens, row.corrupted_tokens, strict=True)
        changed = [place for place, (a, b) in enumerate(pairs) if a != b]
        assert [row.clean_tokens[place] for place in changed] == [*row.correct, *row.wrong]


def test_all_words_are_one_token_of_pythia(task: Task) -> None:
    assert task.dropped == {}
    assert len(set(ARGUMENTS)) == len(ARGUMENTS)
    assert not set(ARGUMENTS) & set(REPEATED_WORDS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" ".join(ARGUMENTS), "needs 6 arguments and 7 nouns of one token each, found 76 and 0"),
        (" ".join((*ARGUMENTS, *REPEATED_WORDS)), "does not know these parts of docstring: .*def"),
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
