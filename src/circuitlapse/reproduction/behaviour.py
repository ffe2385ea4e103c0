"""Tests of what models can do, and when in training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from circuitlapse.reproduction.base import END, FEW, NOTHING, Found, Run, reaches, span, untrained

EARLY = 10_000
"""Where IOI accuracy dips below chance, it does so before this step."""
LATE = 0.5
"""Late training: from this share of the last step on."""


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
        if step > high and not below.any():  # it may have been there by `high`
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

    Clearly: by two standard errors of what fair coins would give, one per prompt.
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
    """Test that with the names exchanged the logit difference at the end is the negative.

    Within 15 %; the corruption `s2_to_io` exchanges them.
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
    """Test that the metric of every model is small at step 0, or within three standard errors.

    Three, because a run has a dozen or more untrained models and tasks: about every other time one
    of them is off by more than two.
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
