"""Uncertainty over prompts, and correlation over models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: percentile bootstrap over prompts.

    Attributes:
        samples: number of resamples.
        level: confidence, such as 0.95.
        seed: of the resampling; the same seed draws the same prompts.
    """

    samples: int
    level: float
    seed: int

    def mean(self, values: Float[ndarray, " prompt"]) -> tuple[float, float]:
        """Return the interval of the mean, in units of `values`."""
        return self.interval((values,), np.mean)

    def ratio_of_means(
        self, over: Float[ndarray, " prompt"], under: Float[ndarray, " prompt"]
    ) -> tuple[float, float]:
        """Return the interval of mean(over) / mean(under), prompts resampled together."""

        def ratio(a: ndarray, b: ndarray, axis: int = -1) -> ndarray:
            quotient: ndarray = a.mean(axis) / b.mean(axis)
            return quotient

        return self.interval((over, under), ratio)

    def of_means(
        self,
        values: Float[ndarray, "value prompt"],
        statistic: Callable[[Float[ndarray, "*sample value"]], Float[ndarray, "*sample"]],
    ) -> tuple[float, float]:
        """Return the interval of a function of many means, prompts resampled together.

        NaN where the function is NaN for one of the resamples.
        """
        n_prompts = values.shape[1]

        def of_rows(rows: ndarray, axis: int = -1) -> ndarray:
            rows = np.moveaxis(rows, axis, -1).astype(int)
            times = np.apply_along_axis(np.bincount, -1, rows, minlength=n_prompts)
            return statistic(times @ values.T / n_prompts)

        return self.interval((np.arange(n_prompts, dtype=float),), of_rows)

    def interval(
        self, data: Sequence[Float[ndarray, " prompt"]], statistic: Callable[..., ndarray]
    ) -> tuple[float, float]:
        """Return the interval of a statistic of several values per prompt, resampled together.

        Args:
            data: each [prompt].
            statistic: takes as many arrays [..., prompt] and `axis`, and returns [...].

        Returns:
            Low and high end; (nan, nan) for fewer than two prompts: nothing is known of their
            spread.
        """
        if len(data[0]) < 2:
            return float("nan"), float("nan")
        with warnings.catch_warnings():  # about an interval that is NaN, which is what it says
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            interval = stats.bootstrap(
                data,
                statistic,
                paired=True,
                method="percentile",
                n_resamples=self.samples,
                confidence_level=self.level,
                rng=np.random.default_rng(self.seed),
            ).confidence_interval
        return float(interval.low), float(interval.high)


def pearson(x: Float[ndarray, " value"], y: Float[ndarray, " value"]) -> tuple[float, float]:
    """Return Pearson's correlation and its two-sided p value, for normally distributed values.

    Both are NaN for fewer than three values, and where one of the two does not vary.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    result = stats.pearsonr(x, y)
    return float(result.statistic), float(result.pvalue)
