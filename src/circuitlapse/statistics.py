"""Bootstrap intervals over prompts, and correlations over models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from circuitlapse.settings.analysis import Bootstrap

Interval = tuple[float, float]
"""Low and high end; (nan, nan) for fewer than two prompts, which say nothing of their spread."""


def bootstrap_interval(
    data: Sequence[Float[ndarray, " prompt"]],
    statistic: Callable[..., ndarray],
    bootstrap: Bootstrap,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic.

    Args:
        data: one or several values per prompt, each [prompt]; prompts are resampled, so that the
            values of one prompt stay together.
        statistic: takes as many arrays [..., prompt] and `axis`, and returns [...].
        bootstrap: number of resamples, confidence level and seed.
    """
    if len(data[0]) < 2:
        return float("nan"), float("nan")
    with warnings.catch_warnings():  # the interval is NaN, which says the same
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            data,
            statistic,
            paired=True,
            method="percentile",
            n_resamples=bootstrap.samples,
            confidence_level=bootstrap.level,
            rng=np.random.default_rng(bootstrap.seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def mean_interval(values: Float[ndarray, " prompt"], bootstrap: Bootstrap) -> Interval:
    """Return the interval of the mean, in units of `values`."""
    return bootstrap_interval((values,), np.mean, bootstrap)


def ratio_interval(
    over: Float[ndarray, " prompt"], under: Float[ndarray, " prompt"], bootstrap: Bootstrap
) -> Interval:
    """Return the interval of mean(over) / mean(under)."""

    def ratio(a: ndarray, b: ndarray, axis: int = -1) -> ndarray:
        quotient: ndarray = a.mean(axis) / b.mean(axis)
        return quotient

    return bootstrap_interval((over, under), ratio, bootstrap)


def interval_of_means(
    values: Float[ndarray, "value prompt"],
    statistic: Callable[[Float[ndarray, "*sample value"]], Float[ndarray, "*sample"]],
    bootstrap: Bootstrap,
) -> Interval:
    """Return the interval of a function of many means.

    NaN where the function is NaN for one of the resamples.
    """
    n_prompts = values.shape[1]

    def of_rows(rows: ndarray, axis: int = -1) -> ndarray:
        rows = np.moveaxis(rows, axis, -1).astype(int)  # [..., prompt]
        # How often each prompt was drawn: the means of all values are then one matrix product.
        times = np.apply_along_axis(np.bincount, -1, rows, minlength=n_prompts)  # [..., prompt]
        return statistic(times @ values.T / n_prompts)  # means [..., value] -> [...]

    # Prompt numbers are resampled in place of the values, which may be many.
    return bootstrap_interval((np.arange(n_prompts, dtype=float),), of_rows, bootstrap)


def pearson(x: Float[ndarray, " value"], y: Float[ndarray, " value"]) -> tuple[float, float]:
    """Return Pearson's correlation and its two-sided p value, for normally distributed values.

    Both are NaN for fewer than three values, and where x or y is constant.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    result = stats.pearsonr(x, y)
    return float(result.statistic), float(result.pvalue)
