"""Lines in which people give repeatedly; test_grammar.py is about single sentences."""

import re
from collections import Counter

import pytest

from circuitlapse.pocket.lines import LINES, make_lines
from circuitlapse.settings.suite import TextShares
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.words import FEMALE_NAMES, MALE_NAMES

NAME = f"({'|'.join((*FEMALE_NAMES, *MALE_NAMES))})"
MEETING = re.compile(rf"{NAME} and {NAME} ")
GIFT = re.compile(rf"\. {NAME} [^.]* to {NAME}(?=\.)")
"""A sentence, and who gives to whom."""


def test_the_configuration_names_every_kind_of_line_and_repeated_words():
    assert set(TextShares.model_fields) == {*LINES, "repeats"}


def test_the_seed_decides_the_lines():
    for kind in LINES:
        assert make_lines(kind, 50, seed=1) == make_lines(kind, 50, seed=1)
        assert make_lines(kind, 50, seed=1) != make_lines(kind, 50, seed=2)


@pytest.mark.parametrize("kind", ["exchanges", "couples"])
def test_everyone_gives_to_the_partner_they_met(kind):
    n_couples, n_gifts, from_first = Counter(), Counter(), Counter()
    for line in make_lines(kind, 2000, seed=1):
        couples, gifts = MEETING.findall(line), GIFT.findall(line)
        names = [name for couple in couples for name in couple]
        assert len(set(names)) == len(names)
        partner = dict(couples) | {b: a for a, b in couples}
        assert gifts
        assert all(partner[giver] == other for giver, other in gifts)
        assert line.count(".") == len(couples) + len(gifts)
        n_couples[len(couples)] += 1
        n_gifts[len(gifts)] += 1
        from_first[gifts[-1] in couples] += 1
    assert set(n_couples) == ({1} if kind == "exchanges" else {2, 3})
    assert set(n_gifts) == ({2, 3, 4} if kind == "exchanges" else {2, 3, 4, 5})
    assert from_first[True] == pytest.approx(1000, rel=0.1)  # the first named gives to the second


def test_every_couple_gives_in_any_order():
    first = Counter()
    for line in make_lines("couples", 2000, seed=1):
        couples, gifts = MEETING.findall(line), GIFT.findall(line)
        order = [next(i for i, couple in enumerate(couples) if g in couple) for g, _ in gifts]
        assert set(order) == set(range(len(couples)))
        first[order[0] == 0] += 1
    assert 700 < first[True] < 1100  # a half of two couples, a third of three


@pytest.mark.parametrize("seed", range(3))
def test_no_prompt_occurs_in_lines_of_several_sentences(seed, tokenizer):
    text = "\n".join(line for kind in LINES for line in make_lines(kind, 5000, seed=seed))
    frame = build_task("ioi", tokenizer, builder="ioi", n_prompts=1000, seed=seed).frame
    assert not [prompt for prompt in {*frame.clean, *frame.corrupted} if prompt in text]
