from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Pair
from circuitlapse.tasks.checks import problems, refuse_defects
from circuitlapse.tasks.vocabulary import Vocabulary

GOOD = Pair(
    clean="So Mary is",
    corrupted="So John is",
    correct=(" she",),
    wrong=(" he",),
)


@pytest.fixture(scope="module")
def vocabulary(make_tokenizer: Callable[..., Tokenizer]) -> Vocabulary:
    return Vocabulary(make_tokenizer("So Mary Sarah John is she he it then"))


def test_a_good_pair_has_no_problems(vocabulary: Vocabulary) -> None:
    assert problems(GOOD, vocabulary) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"clean": "So Mary Mary is"}, "clean has 4 tokens and corrupted 3"),
        ({"clean": GOOD.corrupted}, "clean and corrupted are the same"),
        ({"clean": "So Mary then"}, "differ in 2 tokens, expected 1"),
        ({"clean": "So Zoe is"}, "clean has words that the tokenizer does not know: ' Zoe'"),
        ({"corrupted": "So Zoe is"}, "corrupted has words that the tokenizer does not know"),
        ({"clean": ""}, "clean is empty"),
        ({"clean": "So Mary is "}, "clean ends in a space"),
        ({"correct": ()}, "correct has no answer"),
        ({"correct": (" she it",)}, "correct answer ' she it' is 2 tokens ( she| it)"),
        ({"wrong": (" zoe",)}, "wrong answer ' zoe' is a special or unknown token"),
        ({"wrong": ("<bos>",)}, "wrong answer '<bos>' is a special or unknown token"),
        ({"wrong": ("",)}, "wrong answer '' is 0 tokens, but must be exactly one"),
        ({"wrong": (" he", " she")}, "' she' is among the correct and the wrong answers"),
        ({"wrong": (" he", " he")}, "wrong names an answer twice"),
    ],
)
def test_each_broken_rule_is_named(
    vocabulary: Vocabulary, change: dict[str, Any], problem: str
) -> None:
    assert any(problem in found for found in problems(replace(GOOD, **change), vocabulary))


def test_a_forgotten_space_is_suggested(pythia: Tokenizer) -> None:
    pair = replace(GOOD, correct=("Patricia",), wrong=(" Cynthia",))
    found = problems(pair, Vocabulary(pythia))
    assert any("must be exactly one; ' Patricia' is one token" in problem for problem in found)
    assert not any("Cynthia' is" in problem.partition(";")[2] for problem in found)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"clean": "So Zoe is"}, "not know: ' Zoe'"),
        ({"correct": (" is",)}, "clean ends in its own answer ' is'; it must stop before"),
    ],
)
def test_a_pair_that_breaks_a_rule_is_a_defect_of_its_builder(
    vocabulary: Vocabulary, change: dict[str, Any], rule: str
) -> None:
    refuse_defects("ours", [GOOD], vocabulary)
    bad = replace(GOOD, **change)
    message = rf"ours made the pair '{bad.clean}', 'So John is', which breaks a rule: .*{rule}"
    with pytest.raises(TaskError, match=message):
        refuse_defects("ours", [GOOD, bad], vocabulary)


def test_answers_are_compared_by_token_and_not_by_spelling(
    make_tokenizer: Callable[..., Tokenizer],
) -> None:
    tokenizer = make_tokenizer("so mary john is she he")
    tokenizer.normalizer = normalizers.Lowercase()
    found = problems(replace(GOOD, wrong=(" SHE",)), Vocabulary(tokenizer))
    assert found == ["' she' is among the correct and the wrong answers"]
