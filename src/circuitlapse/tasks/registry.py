"""The tasks that come with Circuitlapse, by name: the only list of them."""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.tasks import (
    acronyms,
    docstring,
    fact_recall,
    gendered_pronoun,
    greater_than,
    ioi,
    repetition,
    sva,
    two_digit_sum,
)
from circuitlapse.tasks.base import Builder

BUILDERS: Mapping[str, Builder] = {
    "ioi": ioi.BUILDER,
    "gendered_pronoun": gendered_pronoun.BUILDER,
    "greater_than": greater_than.BUILDER,
    "sva": sva.BUILDER,
    "repetition": repetition.BUILDER,
    "acronyms": acronyms.BUILDER,
    "docstring": docstring.BUILDER,
    "fact_recall": fact_recall.BUILDER,
    "two_digit_sum": two_digit_sum.BUILDER,
}
