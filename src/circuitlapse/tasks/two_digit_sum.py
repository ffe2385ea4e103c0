"""Two-digit sums (Stolfo et al. 2023): what is the sum of two numbers?

Expect it from about 3 B parameters on, and well from 7 B; smaller models of the Pythia kind guess,
and the pocket suite has no text about sums.
"""

from __future__ import annotations

from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, couples, fill
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import SUM_FRAMES
from circuitlapse.types import Metric

SUMS = range(20, 100)
"""Sums of two digits; so are both numbers."""


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Draw frames and numbers; in the corrupted prompt, the second number is another one.

    Numbers and sums have two digits and are one token each. Each pair comes with its twin, so a
    model that ignores the second number has a mean logit difference of exactly 0.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer splits the numbers, or lacks words of
            every frame.
    """
    if n_prompts is None:
        raise TaskError("two_digit_sum draws its prompts at random; give n_prompts")
    numbers = [n for n in range(10, 100) if _is_token(n, vocabulary)]
    fits = {a: [b for b in numbers if a + b in numbers and a + b in SUMS] for a in numbers}
    first = [a for a, seconds in fits.items() if len(seconds) > 1]
    if not first:
        raise TaskError(
            "the tokenizer has too few two-digit numbers as one token each, with and without a "
            "space in front, as two_digit_sum needs"
        )
    frames = [f for f in SUM_FRAMES if vocabulary.knows(_prompt(f, first[0], fits[first[0]][0]))]
    if not frames:
        raise TaskError("the tokenizer does not know all words of any frame of two_digit_sum")

    def draw() -> Pair:
        frame, a = rng.choice(frames), rng.choice(first)
        b, other = rng.sample(fits[a], 2)
        return Pair(
            clean=_prompt(frame, a, b),
            corrupted=_prompt(frame, a, other),
            correct=(f" {a + b}",),
            wrong=(f" {a + other}",),
            template=f"frame{SUM_FRAMES.index(frame) + 1}",
        )

    dropped = {
        "numbers that are not one known token": 90 - len(numbers),
        "frames with unknown words": len(SUM_FRAMES) - len(frames),
    }
    return Draft(couples(draw, n_prompts), dropped)


def _is_token(number: int, vocabulary: Vocabulary) -> bool:
    return None not in vocabulary.single_ids((f"{number}", f" {number}"))


def _prompt(frame: str, a: int, b: int) -> str:
    return fill(frame, {"a": str(a), "b": str(b)})[0]


BUILDER = Builder(
    make_pairs,
    title="Two-digit sum (SUM)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=10,
)
