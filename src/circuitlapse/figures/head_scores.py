"""What the figures about attention heads say about each score."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd

from circuitlapse.component_choice import attention_chance
from circuitlapse.figures import notes, style


class Shown(NamedTuple):
    """A score in a figure: its title, and what its values are multiplied by there."""

    title: str
    scale: float = 1.0


SHOWN = {
    "succession": Shown("Succession"),
    "induction": Shown("Induction"),
    "cspa": Shown("Copy suppression\n(CSPA)"),
    "copy": Shown("Copy score / 100", 0.01),
    "duplicate": Shown("Duplicate token"),
    "prev_token": Shown("Previous token"),
    "attn_io": Shown("Attention to IO"),
    "attn_s1": Shown("Attention to S1"),
}
COMPONENTS = ("succession", "induction", "cspa", "copy")
"""The scores of the paper's figure 2, in this order."""

REASONS = {
    "no_tokens": "the tokenizer lacks the words",
    "no_effect": "heads have no effect",
    "no_name_movers": "no name movers",
    "not_tested": "no circuit head\nfeeds name movers",
    "skipped": "layers left out",
}
NO_CIRCUIT_HEAD = "no circuit contains\nsuch a head"
UNDEFINED = "not defined"

_ALL_PAIRS, _CHANCE_OF_PAIRS = 288, 0.0263
"""Pairs of words in all lists of succession, and the share that a random choice gets right."""


def of_score(table: pd.DataFrame, score: str, *, models: Collection[str]) -> pd.DataFrame:
    """Return the rows of `components` about one score of some models, values as in figures."""
    rows = table[(table["score"] == score) & table["model"].isin(list(models))]
    return rows.assign(value=rows["value"].astype("float64") * SHOWN[score].scale)


def why_empty(analysed: pd.DataFrame, *, min_step: int) -> str:
    """Say why there is no value to draw among the rows of a score."""
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    statuses = [status for status in rows["status"].drop_duplicates() if status != "ok"]
    reasons = [REASONS.get(status, status.replace("_", " ")) for status in statuses]
    return "\n".join([f"{UNDEFINED}:", *reasons]) if reasons else UNDEFINED


def no_head(rows: pd.DataFrame, tasks: Collection[str]) -> str:
    """Say why no head of `rows` is in a circuit: none is, or their task is not one of `tasks`."""
    return NO_CIRCUIT_HEAD if rows["task"].isin(list(tasks)).any() else notes.NO_TASK


def chance_of(score: str, rows: pd.DataFrame, *, length: int) -> float | None:
    """Return the value of a head that knows nothing; None where the table does not tell.

    Args:
        score: the name of a score.
        rows: what is drawn of it.
        length: number of random tokens, which come twice, behind scores of repeated tokens.
    """
    if score in ("induction", "duplicate", "prev_token"):
        return attention_chance(score, length)
    known = set(rows.loc[rows["value"].notna(), "n"])
    return _CHANCE_OF_PAIRS if score == "succession" and known == {_ALL_PAIRS} else None
