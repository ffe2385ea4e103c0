"""Docstrings (Heimersheim & Janiak 2023): which argument does a docstring describe next?

Four layers of attention, trained on code, do it. Expect it from Pythia 70 M or 160 M on, whose text
has code; not of the pocket suite.
"""

from __future__ import annotations

from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, couples, fill
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import ARGUMENTS, DOCSTRING_FRAME, REPEATED_WORDS
from circuitlapse.types import Metric

ROLES = ("before", "first", "second", "third", "fourth")
"""Arguments in the order of the definition; the docstring leaves out the one before."""
FILLERS = tuple(f"w{place}" for place in range(1, 8))


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Draw names; in the corrupted definition, the next argument and the last change places.

    The docstring describes the second and the third of five arguments, and the fourth is asked for.
    Each pair comes with its twin, so a model that names any argument it has not described yet has
    a logit difference of 0. Heimersheim & Janiak replace arguments by other names instead.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer lacks the words.
    """
    if n_prompts is None:
        raise TaskError("docstring draws its prompts at random; give n_prompts")
    arguments = vocabulary.single_words(ARGUMENTS)
    fillers = vocabulary.single_words(REPEATED_WORDS)
    if len(arguments) <= len(ROLES) or len(fillers) < len(FILLERS):
        raise TaskError(
            f"docstring needs {len(ROLES) + 1} arguments and {len(FILLERS)} nouns of one token "
            f"each, found {len(arguments)} and {len(fillers)}"
        )
    example = dict(zip((*ROLES, "name", *FILLERS), (*arguments[:6], *fillers[:7]), strict=True))
    if unknown := vocabulary.unknown_parts(fill(DOCSTRING_FRAME, example)[0]):
        raise TaskError(f"the tokenizer does not know these parts of docstring: {unknown}")

    def draw() -> Pair:
        name, *chosen = rng.sample(arguments, len(ROLES) + 1)
        words = dict(zip((*ROLES, *FILLERS), (*chosen, *rng.sample(fillers, 7)), strict=True))
        words["name"] = name
        swapped = {**words, "third": words["fourth"], "fourth": words["third"]}
        return Pair(
            clean=fill(DOCSTRING_FRAME, words)[0],
            corrupted=fill(DOCSTRING_FRAME, swapped)[0],
            correct=(f" {words['third']}",),
            wrong=(f" {words['fourth']}",),
            template="param",
            n_changed=2,
        )

    dropped = {
        "arguments that are not one known token": len(ARGUMENTS) - len(arguments),
        "nouns that are not one known token": len(REPEATED_WORDS) - len(fillers),
    }
    return Draft(couples(draw, n_prompts), dropped)


BUILDER = Builder(
    make_pairs,
    title="Docstring (DOC)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=43,
)
