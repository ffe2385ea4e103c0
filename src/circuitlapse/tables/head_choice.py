"""Which attention heads a figure follows, and summaries over all heads of a model.

Every function takes rows of the table `components` for one model and one score. The choices follow
Tigges et al. 2024 (arXiv 2407.10827) unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from circuitlapse.heads.naming import Naming

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


def nameable(rows: pd.DataFrame, naming: Naming) -> pd.DataFrame:
    """Return the rows, at all steps, of heads that the score may name at some step."""
    if rows.empty:
        return rows
    (score, *_), n = rows["score"], set(rows.loc[rows["value"].notna(), "n"])
    high = rows.groupby(_HEAD)["value"].transform("max").to_numpy(dtype=float)
    n_alike = n.pop() if len(n) == 1 else 0  # chance is known for one number of observations
    return rows[naming.may_name(score, rows["layer"].to_numpy(), high, n=n_alike)]


def first_to_rise(rows: pd.DataFrame, *, share: float) -> Head | None:
    """Return the first head to reach `share` of the model's highest score, or None.

    - Only heads that are in a circuit at some step count.
    - Ties at the same step go to the higher maximum, then the lower layer, then the lower head.
    - There is none if no such head exists, or no score is above zero.

    This rule of the paper looks ahead: the highest score is known only at the end of training.
    """
    peaks = _peaks(rows)
    if peaks.empty or peaks.max() <= 0:
        return None
    risen = rows[rows["value"] >= share * peaks.max()].groupby(_HEAD)["step"].min()
    known = pd.DataFrame({"step": risen, "below": -peaks}).dropna().reset_index()
    known = known.merge(_circuit_steps(rows), on=_HEAD)
    return next(iter(_heads(known.sort_values(["step", "below", *_HEAD]))), None)


def most_often_in_circuit(rows: pd.DataFrame, *, share: float, limit: int) -> list[Head]:
    """Return at most `limit` heads that are in the circuits of the most steps.

    Only heads whose maximum over time is at least `share` of the model's highest score count. Ties
    are broken as in `first_to_rise`.
    """
    peaks = _peaks(rows)
    if peaks.empty or peaks.max() <= 0:
        return []
    high = (-peaks[peaks >= share * peaks.max()]).rename("below").reset_index()
    known = high.merge(_circuit_steps(rows), on=_HEAD)
    order = known.sort_values(["n", "below", *_HEAD], ascending=[False, True, True, True])
    return _heads(order)[:limit]


def ever_best(rows: pd.DataFrame) -> list[Head]:
    """Return every head that has the highest score at some step, in the order of these steps.

    Ties go to the lower layer, then the lower head.
    """
    known = rows.dropna(subset=["value"])
    order = known.sort_values(["step", "value", *_HEAD], ascending=[True, False, True, True])
    return _heads(order.drop_duplicates("step").drop_duplicates(_HEAD))


def largest_in_circuit(rows: pd.DataFrame, *, limit: int) -> list[Head]:
    """Return at most `limit` heads of a circuit with the highest scores.

    The scores are those of the last step at which any head of a circuit has one. Ties go to the
    lower layer, then the lower head. The paper draws all such heads.
    """
    inside = rows[_in_circuit(rows) & rows["value"].notna()]
    last = inside[inside["step"] == inside["step"].max()]
    order = last.sort_values(["value", *_HEAD], ascending=[False, True, True])
    return _heads(order)[:limit]


def best_at_each_step(rows: pd.DataFrame) -> pd.DataFrame:
    """Return columns step, tokens, value: the highest score of all heads, NaN without any score."""
    return rows.groupby(["step", "tokens"])["value"].max().reset_index()


def count_above(rows: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return columns step, tokens, value: the number of heads whose score is above `threshold`.

    The number is NaN at a step at which no head has a score.
    """
    above = rows.assign(value=(rows["value"] > threshold).where(rows["value"].notna()))
    above = above.astype({"value": "float64"})
    return above.groupby(["step", "tokens"])["value"].sum(min_count=1).reset_index()


def of_heads(rows: pd.DataFrame, heads: Sequence[Head]) -> dict[Head, pd.DataFrame]:
    """Return columns step, tokens, value for each head: a row per step, NaN without a score."""
    steps = rows[["step", "tokens"]].drop_duplicates().sort_values("step", ignore_index=True)
    own = {
        head: rows[(rows["layer"] == head.layer) & (rows["head"] == head.head)] for head in heads
    }
    return {
        head: steps.merge(found[["step", "value"]], on="step", how="left")
        for head, found in own.items()
    }


def _peaks(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the maximum of each head over time, indexed by layer and head, without NaN."""
    return rows.groupby(_HEAD)["value"].max().dropna()


def _in_circuit(rows: pd.DataFrame) -> pd.Series[bool]:
    """Return, per row, whether the head is in a circuit; False at a step without one."""
    return rows["in_circuit"].fillna(False).astype(bool)


def _circuit_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return columns layer, head and n: the number of steps whose circuits have the head."""
    counts = rows[_in_circuit(rows)].groupby(_HEAD)["step"].nunique()
    return counts.rename("n").reset_index()


def _heads(rows: pd.DataFrame) -> list[Head]:
    return [Head(int(layer), int(head)) for layer, head in rows[_HEAD].itertuples(index=False)]
