"""Uncertainty over prompts."""

from __future__ import annotations

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
