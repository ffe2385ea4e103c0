from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.ioi import TEMPLATES

LENGTHS = dict(zip("1234567", (15, 19, 18, 20, 15, 14, 17), strict=True))
"""Tokens of each frame in the Pythia tokenizer, without a begin-of-text token."""


def build(tokenizer: Tokenizer, corruption: str, *, n_prompts: int = 200) -> Task:
    return build_task(
        "ioi",
        tokenizer,
        builder="ioi",
        n_prompts=n_prompts,
        seed=0,
        options={"corruption": corruption},
    )


@pytest.fixture(scope="module", params=["s2_to_io", "s2_to_random"])
def task(pythia: Tokenizer, request: pytest.FixtureRequest) -> Task:
    return build(pythia, request.param)


def test_all_fourteen_templates_occur_with_their_lengths(task: Task) -> None:
    lengths = {
        (template, len(tokens))
        for template, tokens in zip(task.frame["template"], task.frame["clean_tokens"], strict=True)
    }
    assert len(TEMPLATES) == 14
    assert lengths == {(template, LENGTHS[template[-1]]) for template in TEMPLATES}


def test_the_roles_are_where_the_positions_say(task: Task) -> None:
    for row in task.frame.itertuples():
        tokens = row.clean_tokens
        assert (tokens[row.pos_io],) == row.correct
        assert (tokens[row.pos_s1],) == (tokens[row.pos_s2],) == row.wrong
        assert (row.pos_io < row.pos_s1) == row.template.startswith("abba")
        assert max(row.pos_io, row.pos_s1) < row.pos_s2 < row.end


def test_the_answer_is_not_in_the_prompt_end(task: Task, pythia: Tokenizer) -> None:
    assert all(row.end == len(row.clean_tokens) - 1 for row in task.frame.itertuples())
    ends = Counter(row.clean_tokens[row.end] for row in task.frame.itertuples())
    assert ends == {pythia.token_to_id("Ġto"): len(task)}


def test_only_the_second_mention_of_the_subject_is_corrupted(task: Task) -> None:
    for row in task.frame.itertuples():
        expected = list(row.clean_tokens)
        new = row.corrupted_tokens[row.pos_s2]
        expected[row.pos_s2] = new
        assert row.corrupted_tokens == tuple(expected)
        if task.options["corruption"] == "s2_to_io":
            assert (new,) == row.correct
        else:
            assert new not in row.clean_tokens


def test_names_places_and_objects_vary(task: Task) -> None:
    assert task.frame["correct"].nunique() > 50
    assert task.frame["clean"].nunique() == len(task)


def test_s2_to_io_is_the_default(pythia: Tokenizer) -> None:
    default = build_task("ioi", pythia, builder="ioi", n_prompts=9, seed=0)
    assert default.content_hash == build(pythia, "s2_to_io", n_prompts=9).content_hash


def test_a_tokenizer_that_knows_little_gets_what_it_knows(small: Tokenizer) -> None:
    task = build(small, "s2_to_random", n_prompts=60)
    assert set(task.frame["template"]) == {"abba1", "abba2", "baba1", "baba2"}
    places = task.frame["clean"].str.extract(r"the (\w+)\.", expand=False)
    assert set(places) == {"market", "school"}
    assert task.dropped == {
        "names that are not one known token": 99 - 7,
        "places that are not one known token": 8 - 2,
        "objects that are not one known token": 8 - 2,
        "templates with unknown words": 14 - 4,
    }


def test_prompts_drawn_at_random_need_a_number(small: Tokenizer) -> None:
    with pytest.raises(TaskError, match="give n_prompts"):
        build_task("ioi", small, builder="ioi", n_prompts=None, seed=0)


def test_two_names_are_too_few(make_tokenizer: Callable[..., Tokenizer]) -> None:
    with pytest.raises(TaskError, match="needs three names of one token each, found 2"):
        build(make_tokenizer("Mary John"), "s2_to_io")


def test_no_known_template_is_an_error(make_tokenizer: Callable[..., Tokenizer]) -> None:
    with pytest.raises(TaskError, match="does not know all words of any ioi template"):
        build(make_tokenizer("Mary John Sarah"), "s2_to_io")
