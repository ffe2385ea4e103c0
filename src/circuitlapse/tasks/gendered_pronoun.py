"""Gendered pronouns (Mathwin et al. 2023): she or he?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, fill
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import FEMALE_NAMES, GP_DESCRIPTIONS, GP_FRAME, MALE_NAMES
from circuitlapse.types import Metric

NAMES_PER_GENDER = 10
PRONOUNS = (" she", " he")


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Combine names with descriptions; the corrupted prompt has a name of the other gender.

    For every description, women and men are matched at random. Of a couple, each is the corruption
    of the other: twins. So a model that ignores the name has a mean logit difference of exactly 0,
    in every couple. An odd `n_prompts` is rounded down.

    Raises:
        TaskError: if the tokenizer lacks the pronouns, or all names or descriptions.
    """
    known = [vocabulary.single_words(names) for names in (FEMALE_NAMES, MALE_NAMES)]
    n_names = min(NAMES_PER_GENDER, *map(len, known))
    women, men = (names[:n_names] for names in known)
    descriptions = _usable(women[:1], vocabulary)
    dropped = {
        "female names that are not one known token": len(FEMALE_NAMES) - len(known[0]),
        "male names that are not one known token": len(MALE_NAMES) - len(known[1]),
        "descriptions with unknown words": len(GP_DESCRIPTIONS) - len(descriptions),
    }
    couples = [
        (*couple, description)
        for description in descriptions
        for couple in zip(women, rng.sample(men, n_names), strict=True)
    ]
    if n_prompts is not None:
        couples = rng.sample(couples, min(n_prompts // 2, len(couples)))
    pairs = [pair for couple in couples for pair in _both(*couple)]
    return Draft(tuple(pairs), dropped)


def _usable(example: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Return the descriptions whose whole prompt consists of known words."""
    if any(vocabulary.single_id(pronoun) is None for pronoun in PRONOUNS):
        raise TaskError(f"the tokenizer does not have {' and '.join(map(repr, PRONOUNS))}")
    descriptions = [
        description
        for name in example
        for description in GP_DESCRIPTIONS
        if vocabulary.knows(_prompt(name, description)[0])
    ]
    if not descriptions:
        raise TaskError("the tokenizer lacks all names of a gender, or words of every description")
    return descriptions


def _both(woman: str, man: str, description: str) -> Iterator[Pair]:
    for name, other, (correct, wrong) in (
        (woman, man, PRONOUNS),
        (man, woman, PRONOUNS[::-1]),
    ):
        clean, spans = _prompt(name, description)
        corrupted, _ = _prompt(other, description)
        template = description.replace(" ", "_")
        yield Pair(clean, corrupted, (correct,), (wrong,), template=template, spans=spans)


def _prompt(name: str, description: str) -> tuple[str, dict[str, tuple[int, int]]]:
    text, spans = fill(GP_FRAME, {"name": name, "description": description})
    return text, {"name": spans["name"]}


BUILDER = Builder(
    make_pairs,
    title="Gendered pronoun (GP)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=10,
    finite=True,
)
