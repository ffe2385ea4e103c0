"""Evidence on the size, stability and faithfulness of circuits.

Steps of one model are not independent, so models are: every value is a mean over the steps of a
model first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from circuitlapse.statistics import mean_test, pearson
from circuitlapse.tables.claims.verdicts import Evidence, Given
from circuitlapse.types import Comparison, Faithfulness, Level, Selection, Weighting
from circuitlapse.types.status import EvidenceStatus, Status

SHORT = 0.1
"""Faithfulness below the threshold that contradicts that circuits are faithful."""
KNOWS = 0.1
"""A complement that keeps this share of what corruption takes away does some of the task."""


def larger_circuits(given: Given) -> Iterator[Evidence]:
    """Yield the correlation of circuit size, in edges, with the logarithm of parameters."""
    table = given.size_correlation
    known = table[(table["level"] == Level.EDGE) & (table["x"] == "log_params")]
    for row in known.to_dict("records"):
        yield _correlation(row["task"], row["n"], row["r"], row["p"])


def stabler_circuits(given: Given) -> Iterator[Evidence]:
    """Yield the correlation of stability with the logarithm of parameters.

    Stability is the overlap of neighbouring steps at equal size, minus the median overlap of two
    halves of the prompts, a mean over the pairs of steps at which all models have both.
    """
    rows = given.stability[
        (given.stability["comparison"] == Comparison.CONSECUTIVE)
        & (given.stability["level"] == Level.EDGE)
        & (given.stability["weighting"] == Weighting.NONE)
        & given.stability["model"].isin(given.originals)
    ]
    rows = rows.assign(above=rows["jaccard_matched"] - rows["floor_median"])
    for task in given.tasks:
        by_step = rows[rows["task"] == task].pivot(index="step", columns="model", values="above")
        by_model = by_step.dropna(axis="columns", how="all").dropna().mean().dropna()
        x = np.log(given.n_parameters[by_model.index].to_numpy(dtype=float))
        yield _correlation(task, len(by_model), *pearson(x, by_model.to_numpy()))


def _correlation(subject: str, n: int, r: float, p: float) -> Evidence:
    """Return what a correlation says of the claim that it is positive."""
    if np.isnan(r):
        return Evidence(subject, n, status=EvidenceStatus.TOO_FEW_MODELS)
    pro, con = (p, 1.0) if r > 0 else (1.0, p)
    return Evidence(subject, n, value=r, control=0.0, p_for=pro, p_against=con)


def faithful_circuits(given: Given) -> Iterator[Evidence]:
    """Yield the mean faithfulness on held-out prompts, wherever a model does the task.

    A circuit of half of the prompts is a little worse than that of all, and the search stops where
    it just reaches the threshold. So the claim is contradicted only by `SHORT` less. Where the
    threshold was about normalised faithfulness, nothing is held out that could be compared with it.
    """

    def held_out(rows: pd.DataFrame) -> pd.Series[float]:
        return rows["f_raw_held_out"].where(rows["faithfulness"] == Faithfulness.RAW)

    for task in given.tasks:
        by_model = _mean_by_model(given, task, held_out)
        found = _mean(task, by_model, above=given.threshold)
        if found.status == EvidenceStatus.OK:
            less = mean_test(by_model.to_numpy(), bound=given.threshold - SHORT)
            found = replace(found, p_against=less.p_below)
        yield found


def complement_does_nothing(given: Given) -> Iterator[Evidence]:
    """Yield the mean faithfulness of the complement, which should be near 0."""
    for task in given.tasks:
        by_model = _mean_by_model(given, task, lambda rows: rows["f_complement"])
        found = _mean(task, by_model, above=KNOWS)
        if found.status == EvidenceStatus.OK:
            least = mean_test(by_model.to_numpy(), bound=-KNOWS)
            near = max(found.p_against, least.p_above)
            found = replace(found, p_for=near, p_against=found.p_for)
        yield found


def small_circuits(given: Given) -> Iterator[Evidence]:
    """Yield the mean share of the tested edges that matter more than random ones.

    An edge that is not shown to matter may still do so, so nothing speaks against the claim. A node
    circuit has all edges among its nodes, needed or not, and does not count.
    """

    def needed(rows: pd.DataFrame) -> pd.Series[float]:
        tested = rows["edges_tested"].astype("float64")
        counts = (tested > 0) & (rows["selection"] != Selection.NODES)
        return rows["edges_needed"].astype("float64") / tested.where(counts)

    for task in given.tasks:
        found = _mean(task, _mean_by_model(given, task, needed), above=0.5)
        yield replace(found, p_against=float("nan"))


def _mean_by_model(
    given: Given, task: str, values: Callable[[pd.DataFrame], pd.Series[float]]
) -> pd.Series[float]:
    """Return the mean over the steps at which a model does the task, of every model with any."""
    rows = given.circuit_summary
    own = rows[
        (rows["task"] == task)
        & (rows["status"] != Status.NO_BEHAVIOUR)
        & rows["model"].isin(given.originals)
        & (rows["step"] >= given.min_step)
    ]
    return values(own).groupby(own["model"]).mean().dropna()


def _mean(subject: str, by_model: pd.Series[float], *, above: float) -> Evidence:
    """Return what a mean over models says of the claim that it is above some value."""
    if len(by_model) < 2:
        return Evidence(subject, len(by_model), status=EvidenceStatus.TOO_FEW_MODELS)
    test = mean_test(by_model.to_numpy(), bound=above)
    return Evidence(
        subject,
        len(by_model),
        value=float(by_model.mean()),
        low=test.low,
        high=test.high,
        control=above,
        p_for=test.p_above,
        p_against=test.p_below,
    )
