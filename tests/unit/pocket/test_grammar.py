import re
from collections import Counter
from itertools import pairwise
from string import Formatter

import pytest

from circuitlapse.pocket.grammar import RULES, SHARES
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.sva import TEMPLATES as AGREEMENT
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import (
    ANIMATE_NOUNS,
    FEMALE_NAMES,
    GP_DESCRIPTIONS,
    GP_FRAME,
    GT_FRAME,
    INANIMATE_NOUNS,
    IOI_FRAMES,
    MALE_NAMES,
    ORDERED_LISTS,
    TRANSITIVE_VERBS,
    VERB_PAIRS,
)

N_PROMPTS = {"ioi": 1000, "gendered_pronoun": None, "greater_than": 1000, "sva": 2000}
NOUNS = (*ANIMATE_NOUNS, *INANIMATE_NOUNS)


def any_word(frame: str) -> str:
    """A regular expression for a frame with any word in each gap."""
    return re.sub(r"\\\{[^}]*\\\}", r"\\w+", re.escape(frame))


def one_of(words) -> str:
    return f"({'|'.join(words)})"


BOUND = {"s", "io", "first", "second", "she", "century", "start", "end", "run", "item", "next"}
"""Gaps with one value per sentence."""


def gaps_of(rule: str) -> set[tuple[str, str]]:
    """(gap, role) in all alternatives of a rule."""
    texts = (text for pair in RULES[rule] for text in ([pair] if isinstance(pair, str) else pair))
    return {
        (gap, role or "") for text in texts for _, gap, role, _ in Formatter().parse(text) if gap
    }


def test_every_gap_is_a_rule_or_has_one_value_per_sentence_and_every_rule_is_used():
    gaps = {gap for rule in RULES for gap, _ in gaps_of(rule)}
    assert gaps - BOUND == set(RULES) - set(SHARES) - {"meeting", "gift"}
    assert gaps & BOUND == BOUND


def test_words_with_a_number_only_fill_gaps_with_a_role():
    assert {role for rule in RULES for _, role in gaps_of(rule)} == {"", "subject", "other"}
    for kind in SHARES:
        check_roles(kind, has_role=False)


def check_roles(rule: str, *, has_role: bool) -> None:
    assert has_role or all(isinstance(text, str) for text in RULES[rule]), rule
    for gap, role in gaps_of(rule):
        if gap not in BOUND:
            check_roles(gap, has_role=has_role or bool(role))


def test_shares_are_in_percent():
    assert sum(SHARES.values()) == 100


@pytest.fixture(scope="module")
def text(sentences) -> str:
    return "\n".join(sentences) + "\n"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", N_PROMPTS)
def test_no_prompt_occurs_in_the_corpus(name, seed, text, tokenizer):
    task = build_task(name, tokenizer, builder=name, n_prompts=N_PROMPTS[name], seed=seed)
    assert not [p for p in {*task.frame.clean, *task.frame.corrupted} if p in text]


@pytest.mark.parametrize(
    "pattern",
    [
        *map(any_word, IOI_FRAMES),
        *(any_word(GP_FRAME.replace("{description}", words)) for words in GP_DESCRIPTIONS),
        any_word(GT_FRAME.split(" from")[0]),
        rf"The {one_of(word for noun in NOUNS for word in noun)}\b",
    ],
)
def test_no_sentence_begins_like_a_prompt_whatever_its_words(pattern, text):
    assert not re.search(pattern, text)


def test_every_agreement_prompt_begins_with_an_article_and_a_noun():
    assert all(re.match(r"The \{\w+:(in)?animate\}", frame) for frame in AGREEMENT.values())


@pytest.mark.parametrize("name", N_PROMPTS)
def test_the_tokenizer_knows_all_templates_of_a_task(name, tokenizer):
    task = build_task(name, tokenizer, builder=name, n_prompts=N_PROMPTS[name], seed=0)
    assert not [reason for reason in task.dropped if "templates" in reason]


def test_the_one_who_is_given_something_is_the_one_who_does_not_give(text):
    found = re.findall(r"(\w+) and (\w+) [^\n]*?[,.] (?:and afterwards )?(\w+) .* to (\w+)\.", text)
    assert len(found) > 2500
    assert all({first, second} == {s, io} for first, second, s, io in found)
    assert Counter(first == s for first, _, s, _ in found)[True] == pytest.approx(
        len(found) / 2, rel=0.05
    )


def test_a_year_at_the_end_is_later_in_the_same_century(text):
    found = re.findall(r"from the year (\d\d)(\d\d) to the year (\d\d)(\d\d)\.", text)
    assert len(found) > 1700
    assert all(a == c and 0 < int(d) - int(b) <= 40 for a, b, c, d in found)
    assert {b for _, b, _, _ in found} >= {f"{yy:02d}" for yy in range(1, 99)}


def test_a_pronoun_fits_the_name(text):
    found = re.findall(r" (\w+) is [\w ]+, isn't (\w+)\?", text)
    found += re.findall(r" (\w+) (?:went .* because|said that) (\w+) w", text)
    assert len(found) > 500
    assert all(he_or_she == ("she" if name in FEMALE_NAMES else "he") for name, he_or_she in found)
    assert {name for name, _ in found} <= {*FEMALE_NAMES, *MALE_NAMES}


def test_a_verb_agrees_with_the_noun_right_before_it(text):
    nouns, verbs = number_of(ANIMATE_NOUNS), number_of(VERB_PAIRS)
    found = re.findall(rf"^Today the {one_of(nouns)} {one_of(verbs)}\b", text, re.MULTILINE)
    assert len(found) > 50
    assert all(nouns[noun] == verbs[verb] for noun, verb in found)


def test_a_verb_agrees_across_a_relative_clause(text):
    nouns, verbs = number_of(NOUNS), number_of(VERB_PAIRS)
    inner = one_of(word for pair in TRANSITIVE_VERBS for word in pair)
    noun, verb = one_of(nouns), one_of(verbs)
    found = re.findall(rf"\b{noun} (?:that )?the {noun} {inner} {verb}\b", text)
    assert len(found) > 250
    for head, other, embedded, main in found:
        assert nouns[head] == verbs[main]
        assert nouns[other] == verbs[embedded]
    assert len({(nouns[head], nouns[other]) for head, other, _, _ in found}) == 4


def test_every_pair_of_neighbours_that_the_tokenizer_knows_is_taught(text, tokenizer):
    """A successor head can be found only for what some sentence teaches."""
    listed = Counter(
        pair
        for run in re.findall(r": (\w+(?:, \w+)+)\.", text)
        for pair in pairwise(run.split(", "))
    )
    known = Vocabulary(tokenizer)
    pairs = [
        pair
        for items in ORDERED_LISTS.values()
        for pair in pairwise(items)
        if len(known.single_words(pair)) == 2
    ]
    assert len(pairs) == 19 + 9 + 7 + 12 + 25 + 6
    assert set(listed) == set(pairs)
    assert min(listed.values()) > 5


def test_what_comes_after_an_item_is_the_next_of_its_list(text):
    found = set(re.findall(r"^After (\w+) comes (\w+)\.", text, re.MULTILINE))
    neighbours = {pair for items in ORDERED_LISTS.values() for pair in pairwise(items)}
    assert len(found) > 60
    assert found <= neighbours


def number_of(pairs) -> dict[str, int]:
    """Word -> 0 for singular, 1 for plural."""
    return {word: number for pair in pairs for number, word in enumerate(pair)}
