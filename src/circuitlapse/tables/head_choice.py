"""Which attention heads a figure follows, and what all heads of a model have in common.

Every function takes rows of the table `components` of one model and one score; the choices are
those of Tigges et al. 2024 (arXiv 2407.10827) unless their docstrings say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

_HEAD = ["layer", "head"]


class Head(NamedTuple):
    """An attention head."""

    layer: int
    head: int

    @property
    def name(self) -> str:
        """Its name as a node, for instance "a5.h1"."""
        return f"a{self.layer}.h{self.head}"


def within_range(rows: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """Return `rows` with 0 for every value outside [low, high]; NaN stays NaN."""
    outside = (rows["value"] < low) | (rows["value"] > high)
    return rows.assign(value=rows["value"].mask(outside, 0.0))


def first_to_rise(rows: pd.DataFrame, *, share: float) -> Head | None:
    """Return the head that is the first to reach `share` of the model's highest score.

    Only heads that are nodes of a circuit at some step count. Of several that get there at the
    same step it is the one with the higher maximum, then the one in the lower layer, then the
    lower head. None if there is no such head, or no score above zero.

    This is the paper's rule. It uses the future: the highest score is known only at the end.
    """
    peaks = _peaks(rows)
    if peaks.empty or peaks.max() <= 0:
        return None
    risen = rows[rows["value"] >= share * peaks.max()].groupby(_HEAD)["step"].min()
    known = pd.DataFrame({"step": risen, "below": -peaks}).dropna().reset_index()
    known = known.merge(_circuit_steps(rows), on=_HEAD)
    return next(iter(_heads(known.sort_values(["step", "below", *_HEAD]))), None)


def most_often_in_circuit(rows: pd.DataFrame, *, share: float, limit: int) -> list[Head]:
    """Return the heads that are circuit nodes at the most steps, at most `limit` of them.

    Only heads whose maximum over time is at least `share` of the model's highest score count,
    and only those in some circuit. Ties are broken as by `first_to_rise`.
    """
    peaks = _peaks(rows)
    if peaks.empty or peaks.max() <= 0:
        return []
    high = (-peaks[peaks >= share * peaks.max()]).rename("below").reset_index()
    known = high.merge(_circuit_steps(rows), on=_HEAD)
    order = known.sort_values(["n", "below", *_HEAD], ascending=[False, True, True, True])
    return _heads(order)[:limit]


def ever_best(rows: pd.DataFrame) -> list[Head]:
    """Return every head that has the highest score at some step, those that lead first first.

    Of several heads with the same score the first, by layer and head, is the best one.
    """
    known = rows.dropna(subset=["value"])
    order = known.sort_values(["step", "value", *_HEAD], ascending=[True, False, True, True])
    return _heads(order.drop_duplicates("step").drop_duplicates(_HEAD))


def largest_in_circuit(rows: pd.DataFrame, *, limit: int) -> list[Head]:
    """Return the circuit nodes with the highest scores at the last step at which one has any.

    There are at most `limit`, ties are broken by layer and head. The paper draws all of them.
    """
    inside = rows[_in_circuit(rows) & rows["value"].notna()]
    last = inside[inside["step"] == inside["step"].max()]
    order = last.sort_values(["value", *_HEAD], ascending=[False, True, True])
    return _heads(order)[:limit]


def best_at_each_step(rows: pd.DataFrame) -> pd.DataFrame:
    """Return columns step, tokens, value: the highest score of all heads; NaN if none has one."""
    return rows.groupby(["step", "tokens"])["value"].max().reset_index()


def count_above(rows: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return columns step, tokens, value: the number of heads whose score is above `threshold`.

    It is NaN at a step at which no head has a score.
    """
    above = rows.assign(value=(rows["value"] > threshold).where(rows["value"].notna()))
    above = above.astype({"value": "float64"})
    return above.groupby(["step", "tokens"])["value"].sum(min_count=1).reset_index()


def of_heads(rows: pd.DataFrame, heads: Sequence[Head]) -> dict[Head, pd.DataFrame]:
    """Return columns step, tokens, value for each head: a row per step, NaN where it has none."""
    steps = rows[["step", "tokens"]].drop_duplicates().sort_values("step", ignore_index=True)
    own = {
        head: rows[(rows["layer"] == head.layer) & (rows["head"] == head.head)] for head in heads
    }
    return {
        head: steps.merge(found[["step", "value"]], on="step", how="left")
        for head, found in own.items()
    }


def _peaks(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the maximum of each head over time, indexed by layer and head; only defined ones."""
    return rows.groupby(_HEAD)["value"].max().dropna()


def _in_circuit(rows: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each row is about a node of a circuit; a step without one has none."""
    return rows["in_circuit"].fillna(False).astype(bool)


def _circuit_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return columns layer, head and n, the number of steps in whose circuit the head is."""
    counts = rows[_in_circuit(rows)].groupby(_HEAD)["step"].nunique()
    return counts.rename("n").reset_index()


def _heads(rows: pd.DataFrame) -> list[Head]:
    return [Head(int(layer), int(head)) for layer, head in rows[_HEAD].itertuples(index=False)]
