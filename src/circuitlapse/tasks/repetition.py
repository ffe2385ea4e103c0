"""Repetition (Olsson et al. 2022): which word came after this one before?

The induction task: a list of words in random order begins anew, and stops after a few words.
Models do it as soon as they have induction heads: expected of every model with two layers or more,
from Pythia 70 M and the pocket suite up, after the first few thousand million tokens.
"""

from __future__ import annotations

from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, couples
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import REPEATED_WORDS
from circuitlapse.types import Metric

N_WORDS = 10
"""Words of the list."""
REPEATED = (3, 7)
"""Fewest and most words that come again."""


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Draw lists of words; in the corrupted list, the next word and a later one change places.

    Both are in the list once, after everything that comes again, so only the order of the words
    tells the right answer from the wrong one. Each pair comes with its twin.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer has fewer than `N_WORDS` of the words.
    """
    if n_prompts is None:
        raise TaskError("repetition draws its prompts at random; give n_prompts")
    words = vocabulary.single_words(REPEATED_WORDS)
    if len(words) < N_WORDS:
        raise TaskError(f"repetition needs {N_WORDS} words of one token each, found {len(words)}")

    def draw() -> Pair:
        chosen, repeated = rng.sample(words, N_WORDS), rng.randint(*REPEATED)
        other = rng.randrange(repeated + 1, N_WORDS)
        swapped = [*chosen]
        swapped[repeated], swapped[other] = chosen[other], chosen[repeated]
        return Pair(
            clean=_listed(chosen, repeated),
            corrupted=_listed(swapped, repeated),
            correct=(f" {chosen[repeated]}",),
            wrong=(f" {chosen[other]}",),
            template=f"repeats_{repeated}",
            n_changed=2,
        )

    left_out = len(REPEATED_WORDS) - len(words)
    return Draft(couples(draw, n_prompts), {"words that are not one known token": left_out})


def _listed(words: list[str], repeated: int) -> str:
    """Return the words and the first few of them again, each with a space in front."""
    return "".join(f" {word}" for word in (*words, *words[:repeated]))


BUILDER = Builder(
    make_pairs,
    title="Repetition (REP)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=N_WORDS + REPEATED[1],
)
