"""Tests of circuits: their sizes, and how they change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.reproduction.base import FEW, NOTHING, Found, Run, reaches
from circuitlapse.types import Status


def sizes_jump(size: str, builder: str) -> Callable[[Run], Found]:
    """Test that circuits of neighbouring steps differ by a factor of two somewhere.

    Neighbours are consecutive among all steps analysed, and both circuits are faithful.
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
    """Return the number of edges at each step; NaN where there is no faithful circuit."""
    rows = run.of("circuit_summary", size, builder)
    if rows.empty:
        return np.zeros(0)
    edges = rows["n_edges"].where(rows["status"] == Status.OK)
    return edges.to_numpy(dtype=float, na_value=np.nan)


def larger_models_have_larger_circuits(builder: str) -> Callable[[Run], Found]:
    """Test that mean circuit size and the number of parameters correlate positively."""

    def test(run: Run) -> Found:
        rows = run.tables.get("size_correlation", pd.DataFrame(columns=["task"]))
        rows = rows[rows["task"] == run.tasks.get(builder, "")]
        if rows.empty or len(run.named) < 3:
            return NOTHING
        rows = rows[(rows["level"] == "node") & (rows["x"] == "log_params")]
        r, p, n = rows[["r", "p", "n"]].iloc[0]
        return NOTHING if np.isnan(r) else Found(f"r = {r:.2f}, p = {p:.2f}, n = {n:.0f}", r > 0)

    return test


def stable_by(size: str, builder: str, least: float, step: int) -> Callable[[Run], Found]:
    """Test that the smoothed edge Jaccard of neighbouring steps is high by a step.

    The step itself must be among those compared, and several before it.
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
    statuses = rows.loc[rows["step"] == 0, "status"]
    without = (statuses == Status.NO_BEHAVIOUR).sum()
    return Found(f"{without} of {len(statuses)} without", bool(without == len(statuses)))
