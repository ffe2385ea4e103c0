"""Fact recall (Hanna et al. 2024): what is the capital of a country?

Small models know a few capitals. Expect most of them from about 400 M parameters on, and all from
1 B; none of the pocket suite, whose text names no countries.
"""

from __future__ import annotations

from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, fill, twin
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import CAPITAL_FRAMES, CAPITALS
from circuitlapse.types import Metric


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Pair up countries at random in every frame; the corrupted prompt names the other country.

    Each pair comes with its twin, so a model that ignores the country has a mean logit difference
    of exactly 0. In one frame each country is in one couple only: with more, all prompts would be
    one group. An odd `n_prompts` is rounded down.

    Raises:
        TaskError: if the tokenizer has fewer than two of the countries with their capitals, or
            lacks words of every frame.
    """
    known = [
        (land, city) for land, city in CAPITALS if len(vocabulary.single_words((land, city))) == 2
    ]
    if len(known) < 2:
        raise TaskError(
            f"fact_recall needs two countries of one token each, whose capitals are one token too; "
            f"the tokenizer has {len(known)}"
        )
    frames = [frame for frame in CAPITAL_FRAMES if vocabulary.knows(_prompt(frame, known[0][0]))]
    if not frames:
        raise TaskError("the tokenizer does not know all words of any frame of fact_recall")
    pairs = []
    for frame in frames:
        shuffled = rng.sample(known, len(known))
        pairs += [
            _pair(frame, *couple) for couple in zip(shuffled[::2], shuffled[1::2], strict=False)
        ]
    if n_prompts is not None:
        pairs = rng.sample(pairs, min(n_prompts // 2, len(pairs)))
    dropped = {
        "countries that are not one known token, or whose capital is not": (
            len(CAPITALS) - len(known)
        ),
        "frames with unknown words": len(CAPITAL_FRAMES) - len(frames),
    }
    return Draft(tuple(one for pair in pairs for one in (pair, twin(pair))), dropped)


def _pair(frame: str, fact: tuple[str, str], other: tuple[str, str]) -> Pair:
    return Pair(
        clean=_prompt(frame, fact[0]),
        corrupted=_prompt(frame, other[0]),
        correct=(f" {fact[1]}",),
        wrong=(f" {other[1]}",),
        template=f"frame{CAPITAL_FRAMES.index(frame) + 1}",
    )


def _prompt(frame: str, country: str) -> str:
    return fill(frame, {"country": country})[0]


BUILDER = Builder(
    make_pairs,
    title="Fact recall (FACT)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=11,
    finite=True,
)
