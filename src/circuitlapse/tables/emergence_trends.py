"""Whether tasks and components emerge at the same time in all sizes, and with one another."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.schemas import EMERGENCE_TRENDS
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import (
    draws_of_mean,
    draws_of_slope,
    p_outside,
    p_within,
    percentile_interval,
)
from circuitlapse.types import Kind, Trend
from circuitlapse.types.status import TrendStatus

MARGIN = math.log10(2)
"""Times count as similar within a factor of two: of a component and its task, or over a factor of
ten in parameters."""
UNITS = {
    Trend.SLOPE: "log10 tokens per log10 parameters",
    Trend.LAG: "log10 tokens",
}


class Emerged(NamedTuple):
    """What emerges in a model; its time is a logarithm to the base of ten.

    Attributes:
        model: its name.
        n_parameters: of the model.
        kind: task or component.
        name: of it.
        time: of the half level.
        drawn: in every resample; NaN without a rise.
    """

    model: str
    n_parameters: int
    kind: str
    name: str
    time: float
    drawn: Float[ndarray, " sample"]


def emergence_trends(
    emerged: Collection[Emerged],
    *,
    originals: Collection[str],
    tasks_of: Mapping[str, str],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """Make the table `emergence_trends`; only what has a half level counts.

    - `slope`: of the logarithm of tokens on that of parameters, over the models of all sizes.
      `sd_sizes` is the spread of the times of these models, `sd_seeds` that of models of one size.
    - `lag`: the mean over models of the logarithm of tokens of a component over that of its task.

    Intervals add two sources of noise: the resamples of each model, and what is left between
    models (see `statistics.draws_of_mean`). `p_similar` is that of "further from 0 than `margin`",
    `p_different` that of "nearer".

    Args:
        emerged: by all models.
        originals: the models that are not variants of others.
        tasks_of: component -> the task that such heads are known from; others have no lag.
        bootstrap: for the intervals.
    """
    rows = [*_slopes(emerged, originals, bootstrap)]
    rows += _lags([one for one in emerged if one.model in originals], tasks_of, bootstrap)
    return EMERGENCE_TRENDS.cast(pd.DataFrame(rows, columns=[*EMERGENCE_TRENDS.columns]))


def _slopes(
    emerged: Collection[Emerged], originals: Collection[str], bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    for kind, name in dict.fromkeys((one.kind, one.name) for one in emerged):
        found = [one for one in emerged if (one.kind, one.name) == (kind, name)]
        sizes = [one for one in found if one.model in originals]
        times, drawn = _joined(sizes)
        x = np.log10([one.n_parameters for one in sizes])
        generator = np.random.default_rng(bootstrap.seed)
        draws = draws_of_slope(x, times, drawn, generator=generator)
        spread = {"sd_sizes": _sd([times]), "sd_seeds": _sd(_by_size(found))}
        place = {"trend": Trend.SLOPE, "kind": kind, "name": name, "task": ""}
        known = not np.isnan(draws).any()
        value = np.polyfit(x, times, 1)[0] if known else np.nan
        yield place | _row(value, draws, bootstrap) | spread | _said(Trend.SLOPE, len(sizes), known)


def _lags(
    emerged: Collection[Emerged], tasks_of: Mapping[str, str], bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    at = {(one.model, one.kind, one.name): one for one in emerged}
    models = dict.fromkeys(one.model for one in emerged)
    for name, task in tasks_of.items():
        pairs = [
            (at[model, Kind.COMPONENT, name], at[model, Kind.TASK, task])
            for model in models
            if (model, Kind.COMPONENT, name) in at and (model, Kind.TASK, task) in at
        ]
        if not pairs:
            continue
        heads, doing = (_joined(side) for side in zip(*pairs, strict=True))
        lags, drawn = heads[0] - doing[0], heads[1] - doing[1]
        generator = np.random.default_rng(bootstrap.seed)
        draws = draws_of_mean(lags, drawn, generator=generator)
        known = len(lags) > 1
        value = lags.mean() if known else np.nan
        same = {"n_same_sign": int((np.sign(lags) == np.sign(lags.mean())).sum())}
        place = {"trend": Trend.LAG, "kind": Kind.COMPONENT, "name": name, "task": task}
        yield place | _row(value, draws, bootstrap) | same | _said(Trend.LAG, len(lags), known)


def _joined(
    emerged: Collection[Emerged],
) -> tuple[Float[ndarray, " model"], Float[ndarray, "sample model"]]:
    """Return times and their draws; a draw without a rise is that of the estimate."""
    times = np.array([one.time for one in emerged])
    drawn = np.stack([one.drawn for one in emerged], 1) if len(times) else np.zeros((1, 0))
    return times, np.where(np.isnan(drawn), times, drawn)


def _by_size(emerged: Collection[Emerged]) -> list[Float[ndarray, " seed"]]:
    sizes = dict.fromkeys(one.n_parameters for one in emerged)
    return [np.array([one.time for one in emerged if one.n_parameters == n]) for n in sizes]


def _sd(groups: Collection[Float[ndarray, " one"]]) -> float:
    """Return the pooled standard deviation within groups; NaN without a group of two."""
    degrees = sum(len(group) - 1 for group in groups)
    squares = sum(((group - group.mean()) ** 2).sum() for group in groups if len(group))
    return math.sqrt(squares / degrees) if degrees > 0 else math.nan


def _row(value: float, draws: Float[ndarray, " sample"], bootstrap: Bootstrap) -> dict[str, float]:
    row = {"value": value, "margin": MARGIN}
    if math.isnan(value):
        return row
    low, high = percentile_interval(draws, bootstrap)
    within, outside = (test(draws, -MARGIN, MARGIN) for test in (p_within, p_outside))
    return row | {"low": low, "high": high, "p_similar": within, "p_different": outside}


def _said(trend: Trend, n: int, known: bool) -> dict[str, Any]:
    status = TrendStatus.OK if known else TrendStatus.TOO_FEW_MODELS
    return {"unit": UNITS[trend], "n": n, "status": status}
