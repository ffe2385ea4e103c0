from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers, processors

from circuitlapse.errors import ModelError, TaskError
from circuitlapse.tasks.base import Pair
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.checks import problems, refuse_defects, refuse_other_tokens
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


def test_prompts_may_end_in_a_line_end(make_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = Vocabulary(make_tokenizer("So Mary John is she he", special=("\n", "[UNK]")))
    for end, expected in (("\n", 0), ("\n\n", 0), (" ", 1), ("\t", 1), ("\n ", 1)):
        pair = replace(GOOD, clean=GOOD.clean + end, corrupted=GOOD.corrupted + end)
        found = [problem for problem in problems(pair, tokenizer) if "ends in a space" in problem]
        assert len(found) == 2 * expected, end


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
        ({"clean": "<bos>So Mary"}, "clean has a begin-of-text token and corrupted has none"),
        ({"corrupted": "<bos>So John is"}, "corrupted has a begin-of-text token and clean has"),
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


def test_every_prompt_is_read_alike_by_the_tokenizer_that_made_it(pythia):
    for bos in (False, True):
        made = {"n_prompts": 10, "seed": 0, "prepend_bos": bos}
        task = build_task("mine", pythia, builder="ioi", **made)
        refuse_other_tokens(task, Vocabulary(pythia), where="here")


def test_a_tokenizer_that_was_saved_by_another_library_is_the_same(pythia):
    """Pythia's, with what newer libraries write into its file."""
    task = build_task("mine", pythia, builder="sva", n_prompts=10, seed=0)
    saved = Tokenizer.from_str(pythia.to_str())
    saved.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    saved.enable_truncation(2048)
    assert Vocabulary(saved).hash != task.tokenizer_hash
    refuse_other_tokens(task, Vocabulary(saved), where="here")


def test_another_tokenizer_is_refused_with_a_prompt_that_it_reads_otherwise(
    pythia, make_tokenizer: Callable[..., Tokenizer]
):
    """Pythia's, with the numbers of two tokens exchanged; and one of another kind."""
    task = build_task("mine", pythia, builder="sva", n_prompts=10, seed=0)
    prompt, expected = task.frame.loc[0, ["clean", "clean_tokens"]]
    first, last = expected[0], expected[-1]
    changed = json.loads(pythia.to_str())
    ids = changed["model"]["vocab"]
    ids[pythia.id_to_token(first)], ids[pythia.id_to_token(last)] = last, first
    exchanged = [{first: last, last: first}.get(token, token) for token in expected]
    other = Vocabulary(Tokenizer.from_str(json.dumps(changed)))
    message = f"here: the tokenizer differs from the one that made task mine: {prompt!r} has the "
    message += f"tokens {exchanged}, expected {list(expected)}; all models of a suite share one"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}"):
        refuse_other_tokens(task, other, where="here")
    with pytest.raises(ModelError, match="all models of a suite share one tokenizer"):
        refuse_other_tokens(task, Vocabulary(make_tokenizer(prompt)), where="here")
