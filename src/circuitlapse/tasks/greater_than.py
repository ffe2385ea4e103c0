"""Greater-than (Hanna et al. 2023): in which year can something end?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, fill
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import EVENTS, GT_FRAME
from circuitlapse.types import HeadSet, Metric

CENTURIES = range(11, 18)
SUFFIXES = tuple(f"{suffix:02d}" for suffix in range(100))
CORRUPTED_SUFFIX = "01"
USED_SUFFIXES = SUFFIXES[2:99]
"""Those with a larger and a smaller neighbour that is not the corrupted one."""


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Go through the start years' last digits in turn, with a random century and noun.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer knows no noun, does not know the
            frame or does not split years into a century and two digits.
    """
    if n_prompts is None:
        raise TaskError("greater_than draws its prompts at random; give n_prompts")
    nouns = vocabulary.single_words(EVENTS)
    centuries = centuries_by_suffix(vocabulary)
    answers = tuple(text for text in SUFFIXES if vocabulary.single_id(text) is not None)
    _check(nouns, centuries, vocabulary)
    dropped = {
        "nouns that are not one known token": len(EVENTS) - len(nouns),
        "years that do not split into century and two digits, or have no room": (
            len(CENTURIES) * len(USED_SUFFIXES) - sum(map(len, centuries.values()))
        ),
        "answers that are not one known token": len(SUFFIXES) - len(answers),
    }
    pairs = (
        _pair(rng.choice(nouns), rng.choice(centuries[suffix]), suffix, answers=answers)
        for suffix in _in_turn(tuple(centuries), n_prompts)
    )
    return Draft(tuple(pairs), dropped)


def _in_turn(suffixes: Sequence[str], n_prompts: int) -> list[str]:
    """Return the suffixes over and over, the last round evenly spaced if it is not a whole one.

    A last round of small suffixes alone would favour a model that answers anything.
    """
    rounds, rest = divmod(n_prompts, len(suffixes))
    last = (suffixes[int((i + 0.5) * len(suffixes) / rest)] for i in range(rest))
    return [*suffixes] * rounds + [*last]


def centuries_by_suffix(vocabulary: Vocabulary) -> dict[str, list[int]]:
    """Return the start years to draw from: last two digits -> centuries, such as "32" -> [17].

    A year is valid if it is the token of its century and the token of its last two digits. The
    first and the last valid year of a century are left out, and so is a century whose year 01
    is not valid, because the corrupted prompt needs it.
    """
    years: dict[str, list[int]] = {suffix: [] for suffix in USED_SUFFIXES}
    for century in CENTURIES:
        valid = [suffix for suffix in SUFFIXES if _splits(century, suffix, vocabulary)]
        if CORRUPTED_SUFFIX in valid:
            for suffix in set(valid[1:-1]) & years.keys():
                years[suffix].append(century)
    return {suffix: centuries for suffix, centuries in years.items() if centuries}


def _splits(century: int, suffix: str, vocabulary: Vocabulary) -> bool:
    parts = [vocabulary.single_id(f" {century}"), vocabulary.single_id(suffix)]
    return vocabulary.ids(f" {century}{suffix}") == parts


def _check(
    nouns: Sequence[str], centuries: Mapping[str, list[int]], vocabulary: Vocabulary
) -> None:
    if not centuries:
        raise TaskError(
            "the tokenizer splits no year between 1100 and 1799 into its century and its last "
            "two digits (' 17' and '32'), as greater_than needs"
        )
    if not nouns:
        raise TaskError("the tokenizer has no noun of greater_than as one token")
    suffix = next(iter(centuries))
    if unknown := vocabulary.unknown_parts(_fill(nouns[0], centuries[suffix][0], suffix)[0]):
        raise TaskError(f"the tokenizer does not know these words of greater_than: {unknown}")


def _pair(noun: str, century: int, suffix: str, *, answers: Sequence[str]) -> Pair:
    clean, spans = _fill(noun, century, suffix)
    corrupted, _ = _fill(noun, century, CORRUPTED_SUFFIX)
    return Pair(
        clean=clean,
        corrupted=corrupted,
        correct=tuple(answer for answer in answers if answer > suffix),
        wrong=tuple(answer for answer in answers if answer <= suffix),
        template="lasted",
        spans={"yy": spans["yy"]},
    )


def _fill(noun: str, century: int, suffix: str) -> tuple[str, dict[str, tuple[int, int]]]:
    return fill(GT_FRAME, {"noun": noun, "century": str(century), "yy": suffix})


BUILDER = Builder(
    make_pairs,
    title="Greater-than (GT)",
    metric=Metric.PROB_DIFF,
    prompt_tokens=12,
    head_sets=(HeadSet.INDUCTION_SUCCESSOR,),
)
