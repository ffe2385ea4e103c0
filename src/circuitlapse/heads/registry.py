"""The scores of heads, by name: the only list of them.

The detectors are named, not imported, so that tables and figures can read titles, units and
chance levels without torch. `heads.scoring` imports a detector when its score is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal


@dataclass(frozen=True)
class Chance:
    """The value of a score for a head that knows nothing.

    Attributes:
        text: the value in words, for the documentation.
        level: `level(lengths, n)` is the value, given the numbers of random tokens that come twice
            and the number of observations behind the score; None where these do not determine it.
    """

    text: str
    level: Callable[[Sequence[int], int], float | None] = lambda lengths, n: None  # noqa: ARG005


@dataclass(frozen=True)
class Score:
    """What is known of a score before any model runs.

    Attributes:
        title: name in figures.
        task: builder of the task that such heads are known from.
        unit: of its values.
        range: lowest and highest value.
        chance: the value of a head that knows nothing.
        detector: what measures the score, as "module:function" below `circuitlapse.heads`.
        needs: what the detector reads besides the model: IOI prompts, running text or nothing.
    """

    title: str
    task: str
    unit: str
    range: tuple[float, float]
    chance: Chance
    detector: str
    needs: Literal["prompts", "text", ""] = ""


def _in_second_half(lengths: Sequence[int], _: int) -> float:
    """Return what each position gets of uniform attention, on average over the second half.

    Like the scores, it is the smallest over the lengths: that of the longest.
    """
    return min(fmean(1 / (query + 1) for query in range(s, 2 * s)) for s in lengths)


def _in_all_but_the_first(lengths: Sequence[int], _: int) -> float:
    """Return the same, on average over all positions but the first, which sees only itself."""
    return min(fmean(1 / (query + 1) for query in range(1, 2 * s)) for s in lengths)


def _of_all_pairs(_: Sequence[int], n: int) -> float | None:
    """Return the share of the 288 pairs that a random item of the right list gets right.

    A tokenizer that lacks words has shorter lists, whose lengths `n` does not tell.
    """
    return 0.0263 if n == 288 else None


_UP_TO_1, _PERCENT = (0.0, 1.0), (0.0, 100.0)

SCORES: Mapping[str, Score] = {
    "induction": Score(
        title="Induction",
        task="greater_than",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("0.007", _in_second_half),
        detector="repeated_tokens:repeated_tokens",
    ),
    "prev_token": Score(
        title="Previous token",
        task="ioi",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("0.025", _in_all_but_the_first),
        detector="repeated_tokens:repeated_tokens",
    ),
    "duplicate": Score(
        title="Duplicate token",
        task="ioi",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("0.007", _in_second_half),
        detector="repeated_tokens:repeated_tokens",
    ),
    "copy": Score(
        title="Copy score",
        task="ioi",
        unit="%",
        range=_PERCENT,
        chance=Chance("500 / vocabulary size"),
        detector="copying:copying",
        needs="prompts",
    ),
    "copy_neg": Score(
        title="Negative copy score",
        task="ioi",
        unit="%",
        range=_PERCENT,
        chance=Chance("500 / vocabulary size"),
        detector="copying:copying",
        needs="prompts",
    ),
    "attn_io": Score(
        title="Attention to IO",
        task="ioi",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("1 / prompt length"),
        detector="attention_to_names:attention_to_names",
        needs="prompts",
    ),
    "attn_s1": Score(
        title="Attention to S1",
        task="ioi",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("1 / prompt length"),
        detector="attention_to_names:attention_to_names",
        needs="prompts",
    ),
    "attn_s2": Score(
        title="Attention to S2",
        task="ioi",
        unit="probability",
        range=_UP_TO_1,
        chance=Chance("1 / prompt length"),
        detector="attention_to_names:attention_to_names",
        needs="prompts",
    ),
    "cspa": Score(
        title="Copy suppression (CSPA)",
        task="ioi",
        unit="share",
        range=(-math.inf, 1.0),
        chance=Chance("0"),
        detector="cspa:cspa",
        needs="text",
    ),
    "succession": Score(
        title="Succession",
        task="greater_than",
        unit="share",
        range=_UP_TO_1,
        chance=Chance("0.026", _of_all_pairs),
        detector="succession:succession",
    ),
}

EFFECTS = ("e_logits", "e_nm_q", "e_s2i_v")
"""Effects of path patching in IOI, which `heads.algorithm` adds to the scores of a head."""
EFFECT_TASK = "ioi"
EFFECT_UNIT = "share of the drop to the corrupted level"


def needing(what: str) -> tuple[str, ...]:
    """Return the names of the scores that need "prompts", "text" or "" (nothing)."""
    return tuple(name for name, score in SCORES.items() if score.needs == what)
