"""Tests of statements: each function here returns a test, which takes a `Run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.heads.registry import SCORES
from circuitlapse.tables.reproduction.base import (
    END,
    FEW,
    NOTHING,
    Found,
    Run,
    reaches,
    span,
    untrained,
)
from circuitlapse.types.status import LEFT_OUT, Status

EARLY = 10_000
"""A dip of IOI accuracy below chance must come before this step."""
ALPHA = 0.05
"""A correlation counts if its p value is below this."""
LATE = 0.5
"""Late training begins at this share of the last step."""


def half_level(size: str, builder: str, low: int, high: int) -> Callable[[Run], Found]:
    """Test when a metric first reaches half of its late-training mean."""

    def test(run: Run) -> Found:
        rows = run.of("behaviour", size, builder)
        if not reaches(rows, 2 * high):
            return NOTHING
        late = rows.loc[rows["step"] >= LATE * rows["step"].max(), "value"].mean()
        above = rows.loc[rows["value"] >= late / 2, "step"]
        if late <= 0 or above.empty:
            return Found(f"late mean {late:.3g}", False)
        step = int(above.iloc[0])
        below = rows["step"].between(high, step, inclusive="left")
        if step > high and not below.any():  # it may have been reached by `high` already
            return NOTHING
        return Found(f"step {step}", low <= step <= high)

    return test


def late_peak(size: str, builder: str, low: int, high: int) -> Callable[[Run], Found]:
    """Test that a metric is largest between two steps, and lower at the end."""

    def test(run: Run) -> Found:
        rows = run.of("behaviour", size, builder)
        if not reaches(rows, 2 * high) or not rows["step"].between(low, high).any():
            return NOTHING
        best = rows.sort_values("value", kind="stable").iloc[-1]
        falls = rows["value"].iloc[-1] < best["value"]
        return Found(f"step {best['step']}", bool(low <= best["step"] <= high and falls))

    return test


def below_chance_first(size: str) -> Callable[[Run], Found]:
    """Test that IOI accuracy is clearly below one half early, and clearly above it later.

    Clearly means by two standard errors of a fair coin thrown once per prompt.
    """

    def test(run: Run) -> Found:
        rows = run.of("behaviour", size, "ioi")
        rows = rows[rows["step"] > 0]
        early = rows["step"] < EARLY
        if early.sum() < FEW or not reaches(rows, EARLY):
            return NOTHING
        doubt = 2 * np.sqrt(0.25 / rows["n"])
        falls = rows.loc[early & (rows["accuracy"] + doubt < 0.5), "step"].min()
        recovers = ((rows["step"] > falls) & (rows["accuracy"] - doubt > 0.5)).any()
        lowest = rows[early].sort_values("accuracy", kind="stable").iloc[0]
        best = rows.loc[rows["step"] > lowest["step"], "accuracy"].max()
        measured = f"{lowest['accuracy']:.2f} at step {lowest['step']}, later up to {best:.2f}"
        return Found(f"{measured}; chance is 0.5 +- {doubt.max():.2f}", bool(recovers))

    return test


def opposite_when_corrupted(size: str) -> Callable[[Run], Found]:
    """Test that exchanging the names flips the sign of the final logit difference, within 15 %.

    The corruption `s2_to_io` exchanges the names.
    """

    def test(run: Run) -> Found:
        rows = run.of("behaviour", size, "ioi")
        if run.corruption != "s2_to_io" or not reaches(rows, END):
            return NOTHING
        if rows["value"].iloc[-1] <= 0:
            return NOTHING
        ratio = -rows["value_corrupted"].iloc[-1] / rows["value"].iloc[-1]
        return Found(f"ratio {-ratio:.2f}", bool(abs(ratio - 1) <= 0.15))

    return test


def unable(builder: str, bound: float) -> Callable[[Run], Found]:
    """Test that the metric of every model at step 0 is below a bound or three standard errors.

    Two standard errors would be too few: with a dozen or more untrained models and tasks in a run,
    one of them exceeds two in about every other run.
    """

    def test(run: Run) -> Found:
        rows = untrained(run, "behaviour")
        rows = rows[rows["task"] == run.tasks.get(builder)].dropna(subset="value")
        if rows.empty:
            return NOTHING
        allowed = np.fmax(bound, 3 * rows["se"])
        value = rows["value"]
        measured = f"{span(value)}, se up to {rows['se'].max():.2g}"
        return Found(measured, bool((value.abs() <= allowed).all()))

    return test


def sizes_jump(size: str, builder: str) -> Callable[[Run], Found]:
    """Test that the sizes of some neighbouring circuits differ by a factor of two.

    Neighbours are circuits of consecutive analysed steps that are both faithful.
    """

    def test(run: Run) -> Found:
        jumps = np.exp(np.abs(np.diff(np.log(_faithful_sizes(run, size, builder)))))
        jumps = jumps[~np.isnan(jumps)]
        if len(jumps) < FEW - 1:
            return NOTHING
        return Found(f"largest factor {jumps.max():.1f}", bool(jumps.max() >= 2))

    return test


def mostly_below(size: str, builder: str, edges: int) -> Callable[[Run], Found]:
    """Test that most circuits of a task have fewer edges than some number."""

    def test(run: Run) -> Found:
        sizes = _faithful_sizes(run, size, builder)
        sizes = sizes[~np.isnan(sizes)]
        if len(sizes) < FEW:
            return NOTHING
        return Found(f"median {np.median(sizes):.0f} edges", bool(np.median(sizes) < edges))

    return test


def _faithful_sizes(run: Run, size: str, builder: str) -> Float[ndarray, " step"]:
    """Return the number of edges at each step; NaN without a faithful circuit."""
    rows = run.of("circuit_summary", size, builder)
    if rows.empty:
        return np.zeros(0)
    edges = rows["n_edges"].where(rows["status"] == Status.OK)
    return edges.to_numpy(dtype=float, na_value=np.nan)


def larger_models_have_larger_circuits(builder: str) -> Callable[[Run], Found]:
    """Test that mean circuit size and the number of parameters correlate positively.

    A correlation that chance explains (p of `ALPHA` or more) says nothing: of five models without
    any such law, every other run has r above 0.
    """

    def test(run: Run) -> Found:
        rows = run.tables.get("size_correlation", pd.DataFrame(columns=["task"]))
        rows = rows[rows["task"] == run.tasks.get(builder, "")]
        if rows.empty or len(run.pythia_sizes) < 3:
            return NOTHING
        rows = rows[(rows["level"] == "node") & (rows["x"] == "log_params")]
        r, p, n = rows[["r", "p", "n"]].iloc[0]
        if np.isnan(r):
            return NOTHING
        return Found(f"r = {r:.2f}, p = {p:.2f}, n = {n:.0f}", r > 0 if p < ALPHA else None)

    return test


def stable_by(size: str, builder: str, least: float, step: int) -> Callable[[Run], Found]:
    """Test that the smoothed edge Jaccard of neighbouring steps is at least `least` by a step.

    The run must have compared that step, and several before it.
    """

    def test(run: Run) -> Found:
        rows = run.of("stability", size, builder)
        if rows.empty:
            return NOTHING
        kind = (rows["comparison"] == "consecutive") & (rows["level"] == "edge")
        rows = rows[kind & (rows["weighting"] == "none") & (rows["step"] <= step)]
        smooth = rows["ewma"].dropna()
        if len(rows) < FEW or not reaches(rows, step) or smooth.empty:
            return NOTHING
        return Found(f"{smooth.iloc[-1]:.2f}", bool(smooth.iloc[-1] >= least))

    return test


def no_circuit_untrained(run: Run) -> Found:
    """Test that no untrained model has a circuit."""
    rows = run.tables.get("circuit_summary")
    if rows is None or rows[rows["step"] == 0].empty:
        return NOTHING
    statuses = rows.loc[(rows["step"] == 0) & ~rows["status"].isin(LEFT_OUT), "status"]
    without = (statuses == Status.NO_BEHAVIOUR).sum()
    return Found(f"{without} of {len(statuses)} without", bool(without == len(statuses)))


def heads_have_roles(
    size: str, roles: Iterable[str], heads: Iterable[tuple[int, int]]
) -> Callable[[Run], Found]:
    """Test that each of some heads has one of some roles at the end of training.

    If the model has circuits but no roles at all, the test fails.
    """
    wanted = set(heads)

    def test(run: Run) -> Found:
        circuits = run.of("circuit_summary", size, "ioi")
        if not reaches(circuits, END) or "roles" not in run.tables:
            return NOTHING
        rows = run.of("roles", size, "ioi")
        rows = rows[(rows["step"] == circuits["step"].max()) & rows["role"].isin(list(roles))]
        found = wanted & set(zip(rows["layer"], rows["head"], strict=True))
        names = ", ".join(f"({layer},{head})" for layer, head in sorted(found))
        return Found(f"{len(found)} of {len(wanted)}: {names or 'none'}", found == wanted)

    return test


def copy_score_by(
    size: str, head: tuple[int, int], least: float, step: int
) -> Callable[[Run], Found]:
    """Test that the copy score of a head, with `copy_ln` folded, is above `least` by a step.

    The run must have analysed that step.
    """

    def test(run: Run) -> Found:
        rows = run.of("components", size)
        if run.copy_ln != "folded" or step not in set(rows["step"]):
            return NOTHING
        here = (rows["layer"] == head[0]) & (rows["head"] == head[1]) & (rows["step"] <= step)
        values = rows.loc[here & (rows["score"] == "copy"), "value"].dropna()
        if values.empty:
            return NOTHING
        return Found(f"{values.max():.0f}", bool(values.max() > least))

    return test


def attends_by_chance(score: str, within: float) -> Callable[[Run], Found]:
    """Test that attention at step 0 is uniform in every model, on average over heads.

    Args:
        score: `induction`, `duplicate` or `prev_token`.
        within: the largest deviation from chance that passes, as a share of chance.
    """

    def test(run: Run) -> Found:
        rows = untrained(run, "components")
        means = rows[rows["score"] == score].groupby("model")["value"].mean().dropna()
        chance = SCORES[score].chance.level(run.lengths, len(rows))
        if means.empty or chance is None:
            return NOTHING
        agrees = (means / chance - 1).abs().max() <= within
        measured = f"{span(means)}, chance is {chance:.3g}"
        return Found(measured, bool(agrees))

    return test
