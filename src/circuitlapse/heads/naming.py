"""Which heads a score may name, so that no head has a role for a score at chance.

A head that attends to everything alike has an induction score too: the chance level. So has the
best of many such heads. By the rule of the paper, the heads above the mean have the role, which
some always are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy import ndarray

from circuitlapse.heads.registry import SCORES
from circuitlapse.types import RoleRule

TIMES_CHANCE = 2.0
"""A score below this many times its chance level names no head."""
NEED_EARLIER_HEADS = ("induction", "copy", "copy_neg")
"""Scores that name no head of layer 0.

An induction head reads what a previous-token head wrote; a name mover, of either sign, reads which
name to look at. In layer 0 no head has written anything yet.
"""


@dataclass(frozen=True)
class Naming:
    """The rule for naming heads; by the rule `paper`, any head may be named.

    Attributes:
        rule: a `RoleRule`.
        lengths: numbers of random tokens that scores of repeated tokens were measured with.
    """

    rule: str
    lengths: Sequence[int]

    def least(self, score: str, *, n: int = 0) -> float:
        """Return the lowest value that names a head; minus infinity where chance is not known.

        Args:
            score: its name.
            n: number of observations behind it, which some chance levels depend on.
        """
        chance = SCORES[score].chance.level(self.lengths, n)
        controlled = self.rule == RoleRule.CONTROLLED
        return TIMES_CHANCE * chance if controlled and chance is not None else -math.inf

    def in_layer(self, score: str, layer: Integer[ndarray, " head"]) -> Bool[ndarray, " head"]:
        """Return whether a score may name heads of some layers."""
        later = (layer > 0) | (score not in NEED_EARLIER_HEADS)
        return np.asarray(later | (self.rule == RoleRule.PAPER))

    def may_name(
        self,
        score: str,
        layer: Integer[ndarray, " head"],
        value: Float[ndarray, " head"],
        *,
        n: int = 0,
    ) -> Bool[ndarray, " head"]:
        """Return which heads a score may name; none whose score is NaN."""
        return self.in_layer(score, layer) & (value >= self.least(score, n=n))
