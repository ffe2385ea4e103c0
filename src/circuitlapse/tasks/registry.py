"""The tasks that come with Circuitlapse, by name: the only list of them."""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.tasks import gendered_pronoun, greater_than, ioi, sva
from circuitlapse.tasks.base import Builder

BUILDERS: Mapping[str, Builder] = {
    "ioi": ioi.BUILDER,
    "gendered_pronoun": gendered_pronoun.BUILDER,
    "greater_than": greater_than.BUILDER,
    "sva": sva.BUILDER,
}
