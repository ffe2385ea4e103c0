from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.sva import TEMPLATES, deal

SINGULAR_VERBS = (" is", " has", " likes", " knows", " goes")
TWO_CHANGES = {"subject_relative", "coordination_short", "coordination_long"}


def build(tokenizer: Tokenizer, n_prompts: int | None = 300) -> Task:
    return build_task("sva", tokenizer, builder="sva", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def test_pairs_are_equally_long_and_differ_where_the_number_shows(task: Task) -> None:
    for row in task.frame.itertuples():
        pairs = list(zip(row.clean_tokens, row.corrupted_tokens, strict=True))
        changed = [index for index, (clean, corrupted) in enumerate(pairs) if clean != corrupted]
        assert changed[0] == row.pos_subject
        assert len(changed) == (2 if row.template in TWO_CHANGES else 1)


def test_every_prompt_starts_with_the_and_a_noun(task: Task) -> None:
    assert task.frame["clean"].str.match(r"The [a-z]+( |$)").all()


def test_all_fifteen_structures_occur_equally_often(task: Task) -> None:
    assert task.frame["template"].value_counts().to_dict() == dict.fromkeys(TEMPLATES, 20)
    assert len(TEMPLATES) == 15


def test_every_pair_comes_in_both_directions(task: Task) -> None:
    there = set(zip(task.frame["clean"], task.frame["corrupted"], strict=True))
    back = set(zip(task.frame["corrupted"], task.frame["clean"], strict=True))
    assert there == back
    assert len(there) == len(task)
    assert task.frame["group"].tolist() == [row // 2 for row in range(len(task))]


def test_the_answers_are_all_verbs_of_the_subjects_number(task: Task, pythia: Tokenizer) -> None:
    singular = {pythia.token_to_id(verb.replace(" ", "Ġ")) for verb in SINGULAR_VERBS}
    for row in task.frame.itertuples():
        subject = pythia.decode([row.clean_tokens[row.pos_subject]])
        is_plural = subject.endswith("s") or subject in (" men", " women", " children")
        assert singular <= set(row.wrong if is_plural else row.correct)


def test_answer_sets_are_disjoint_and_of_equal_size(task: Task) -> None:
    for correct, wrong in zip(task.frame["correct"], task.frame["wrong"], strict=True):
        assert len(set(correct)) == len(set(wrong)) == len(correct) > 400
        assert not set(correct) & set(wrong)


def test_a_model_that_ignores_number_scores_zero(task: Task, pythia: Tokenizer) -> None:
    draw = random.Random(0)
    probability = [draw.random() for _ in range(pythia.get_vocab_size())]
    total = sum(
        sum(probability[i] for i in row.correct) - sum(probability[i] for i in row.wrong)
        for row in task.frame.itertuples()
    )
    assert total == pytest.approx(0)


def test_the_subject_is_the_noun_that_the_next_verb_belongs_to(task: Task) -> None:
    """Inside a clause it is the second noun, otherwise the first."""
    inside = ("within", "sentential")
    for row in task.frame.itertuples():
        second = any(part in row.template for part in inside)
        assert (row.pos_subject == 1) != second
        if second:
            assert row.pos_attractor == 1
            assert row.pos_subject == row.end


def test_attractors_of_both_numbers_occur_and_never_repeat_the_subject(
    task: Task, pythia: Tokenizer
) -> None:
    frame = task.frame.dropna(subset="pos_attractor")
    nouns = [
        tuple(pythia.decode([row.clean_tokens[i]]) for i in (row.pos_subject, row.pos_attractor))
        for row in frame.itertuples()
    ]
    ends_in_s = {(subject[-1] == "s", attractor[-1] == "s") for subject, attractor in nouns}
    assert len(ends_in_s) == 4
    assert all(subject.rstrip("s") != attractor.rstrip("s") for subject, attractor in nouns)


def test_an_odd_number_is_rounded_down_and_counted(pythia: Tokenizer) -> None:
    task = build(pythia, 31)
    assert len(task) == 30
    assert task.dropped["prompts that were asked for but do not exist"] == 1


def test_structures_and_words_that_a_tokenizer_lacks_are_counted(small: Tokenizer) -> None:
    """It knows two people, one thing, four prepositions, two verbs and three answer pairs."""
    task = build(small, None)
    assert task.frame["template"].value_counts().to_dict() == {
        "simple": 2 * 2,
        "preposition_animate": 2 * 2 * (2 * 2),  # near, behind
        "preposition_inanimate": 2 * 3 * (2 * 2),  # from, near, and "to" is no preposition
        "subject_relative": 2 * 2 * (2 * 2),
        "object_relative_across_animate": 2 * 2 * (2 * 2),
        "object_relative_across_inanimate": 2 * 2 * (2 * 2),
        "object_relative_within_animate": 2 * (2 * 2),
        "object_relative_within_inanimate": 2 * (2 * 2),
        "bare_relative_across_animate": 2 * 2 * (2 * 2),
        "bare_relative_across_inanimate": 2 * 2 * (2 * 2),
        "bare_relative_within_animate": 2 * (2 * 2),
        "bare_relative_within_inanimate": 2 * (2 * 2),
    }
    assert {len(answers) for answers in task.frame["correct"]} == {3}
    for name in ("sentential_complement", "coordination_short", "coordination_long"):
        assert task.dropped[f"template {name} has unknown words"] == 1
    assert task.dropped["words of kind animate that are unknown or not one token"] == 30 - 2


def test_a_tokenizer_without_verbs_is_an_error(make_tokenizer: Callable[..., Tokenizer]) -> None:
    with pytest.raises(TaskError, match="no verb of which both numbers are one token"):
        build(make_tokenizer("The doctor doctors likes"))


@pytest.mark.parametrize(
    ("total", "shares"),
    [
        (0, [0, 0, 0]),
        (3, [1, 1, 1]),
        (5, [1, 2, 2]),
        (7, [1, 2, 4]),
        (99, [1, 2, 9]),
    ],
)
def test_dealing_goes_in_turn_until_a_structure_runs_out(total: int, shares: list[int]) -> None:
    assert list(deal({"a": 1, "b": 2, "c": 9}, total=total).values()) == shares
