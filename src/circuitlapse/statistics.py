"""Bootstrap intervals over prompts, and correlations over models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

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
    n = len(data[0])
    if n < 2:
        return float("nan"), float("nan")
    # The same draws as scipy.stats.bootstrap, which takes a second of CPU time to import.
    rows = np.random.default_rng(bootstrap.seed).integers(0, n, (bootstrap.samples, n))
    drawn = statistic(*(values[rows] for values in data), axis=-1)  # [sample]
    tail = (1 - bootstrap.level) / 2
    low, high = np.percentile(drawn, (100 * tail, 100 * (1 - tail)))
    return float(low), float(high)


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
    from scipy import stats  # takes a second to import, which most jobs do not need

    result = stats.pearsonr(x, y)
    return float(result.statistic), float(result.pvalue)
