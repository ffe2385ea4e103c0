from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from circuitlapse.errors import TaskError
from circuitlapse.tasks import Draft, Pair, Task, Vocabulary
from circuitlapse.tasks.encode import encode, problems
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
        ({"correct": (" is",)}, "clean ends in its own answer ' is'"),
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


def test_a_pair_that_breaks_a_rule_is_a_defect_of_its_builder(vocabulary: Vocabulary) -> None:
    with pytest.raises(
        TaskError, match=r"test made the pair 'So Zoe is', 'So John is', which .*not know: ' Zoe'"
    ):
        make_task([GOOD, replace(GOOD, clean="So Zoe is")], vocabulary)


def test_fewer_than_two_pairs_are_no_task(vocabulary: Vocabulary) -> None:
    with pytest.raises(TaskError, match="1 prompt pairs remain; at least 2 are needed"):
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


def test_prompts_that_do_not_exist_are_counted(vocabulary: Vocabulary) -> None:
    task = make_task([GOOD, GOOD], vocabulary, n_prompts=7)
    assert task.dropped == {"prompts that were asked for but do not exist": 5}


def test_answers_are_compared_by_token_and_not_by_spelling(
    make_tokenizer: Callable[..., Tokenizer],
) -> None:
    tokenizer = make_tokenizer("so mary john is she he")
    tokenizer.normalizer = normalizers.Lowercase()
    found = problems(replace(GOOD, wrong=(" SHE",)), Vocabulary(tokenizer))
    assert found == ["' she' is among the correct and the wrong answers"]
