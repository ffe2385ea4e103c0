"""Bootstrap intervals over groups of prompts, correlations over models, and corrected p values.

Prompts of one group, such as twins (`tasks.encode.twins`), are no independent measurements. So
groups are resampled and not prompts: every interval here takes `groups`, the group of each prompt,
0, 1, 2, ... With None, every prompt is a group of its own. Estimates stay means over prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.settings.analysis import Bootstrap

Interval = tuple[float, float]
"""Low and high end; (nan, nan) for fewer than two groups, which say nothing of their spread."""

N_FLIPS = 9_999
"""Number of random signs of a sign-flip test."""

Groups = Int[ndarray, " prompt"] | None
"""The group of each prompt, 0..n_groups-1; None where every prompt is a group of its own."""


def group_sums(
    values: Float[ndarray, "*value prompt"], groups: Groups
) -> tuple[Float[ndarray, "*value group"], Float[ndarray, " group"]]:
    """Return the sum of values over the prompts of each group, and the number of prompts in it."""
    if groups is None:
        return values, np.ones(values.shape[-1])
    sizes = np.bincount(groups)
    # Prompts of one group side by side; each group starts where the ones before it end.
    together = values[..., np.argsort(groups, kind="stable")]
    sums = np.add.reduceat(together, sizes.cumsum() - sizes, axis=-1)
    return sums, sizes.astype(float)


def group_values(values: Float[ndarray, " prompt"], groups: Groups) -> Float[ndarray, " group"]:
    """Return a value per group: their mean is that over prompts, and so is its standard error.

    With groups of different sizes the mean over prompts is a ratio, sum over number, and these are
    its linear terms. Where every prompt is a group, they are the values.
    """
    sums, sizes = group_sums(values, groups)
    weights = sizes * (len(sizes) / len(values))
    return np.asarray(sums * (len(sizes) / len(values)) + (1 - weights) * values.mean())


def resamples(n_groups: int, bootstrap: Bootstrap) -> Int[ndarray, "sample group"]:
    """Return the groups in each resample."""
    # The same draws as scipy.stats.bootstrap, which takes a second of CPU time to import.
    generator = np.random.default_rng(bootstrap.seed)
    return generator.integers(0, n_groups, (bootstrap.samples, n_groups))


def percentile_interval(drawn: Float[ndarray, " sample"], bootstrap: Bootstrap) -> Interval:
    """Return the interval between the percentiles of a statistic of every resample."""
    tail = (1 - bootstrap.level) / 2
    low, high = np.percentile(drawn, (100 * tail, 100 * (1 - tail)))
    return float(low), float(high)


def bootstrap_interval(
    data: Sequence[Float[ndarray, " prompt"]],
    statistic: Callable[..., Float[ndarray, " sample"]],
    bootstrap: Bootstrap,
    groups: Groups = None,
) -> Interval:
    """Return the percentile bootstrap interval of a function of means over prompts.

    Args:
        data: one or several values per prompt, each [prompt]; groups are resampled, so that the
            values of a prompt, and the prompts of a group, stay together.
        statistic: takes the mean of each of these values in every resample, [sample] each.
        bootstrap: number of resamples, confidence level and seed.
        groups: of the prompts.
    """
    sums, sizes = zip(*(group_sums(values, groups) for values in data), strict=True)
    if len(sizes[0]) < 2:
        return float("nan"), float("nan")
    rows = resamples(len(sizes[0]), bootstrap)
    n_prompts = sizes[0][rows].sum(-1)  # [sample]; groups of different sizes vary it
    means = [total[rows].sum(-1) / n_prompts for total in sums]
    return percentile_interval(statistic(*means), bootstrap)


def mean_interval(
    values: Float[ndarray, " prompt"], bootstrap: Bootstrap, groups: Groups = None
) -> Interval:
    """Return the interval of the mean, in units of `values`."""
    return bootstrap_interval((values,), lambda mean: mean, bootstrap, groups)


def ratio_interval(
    over: Float[ndarray, " prompt"],
    under: Float[ndarray, " prompt"],
    bootstrap: Bootstrap,
    groups: Groups = None,
) -> Interval:
    """Return the interval of mean(over) / mean(under)."""
    return bootstrap_interval((over, under), lambda a, b: a / b, bootstrap, groups)


def resampled_means(
    values: Float[ndarray, "value prompt"], bootstrap: Bootstrap, groups: Groups = None
) -> Float[ndarray, "sample value"]:
    """Return the mean over prompts of each value, in every resample of the groups."""
    sums, sizes = group_sums(values, groups)
    n_groups, n_samples = len(sizes), bootstrap.samples
    # How often each group was drawn: the means of all values are then one matrix product.
    places = resamples(n_groups, bootstrap) + n_groups * np.arange(n_samples)[:, None]
    times = np.bincount(places.ravel(), minlength=n_samples * n_groups).reshape(places.shape)
    return np.asarray(times @ sums.T / (times @ sizes)[:, None])


N_ORDERS = math.factorial(8)
"""Orders of values that a permutation test looks at: up to eight values, all there are."""


def spearman(x: Float[ndarray, " value"], y: Float[ndarray, " value"]) -> float:
    """Return Spearman's rank correlation; values that tie share their mean rank.

    NaN for fewer than two values, and where x or y is constant.
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    # Not from scipy, which takes a second of CPU time to import.
    return float(np.corrcoef(mean_ranks(x), mean_ranks(y))[0, 1])


def mean_ranks(values: Float[ndarray, " value"]) -> Float[ndarray, " value"]:
    """Return the rank of each value, from 1; values that tie share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])


def split_prompts(
    groups: Int[ndarray, " prompt"], *, seed: int | tuple[int, int]
) -> list[Int[ndarray, " row"]]:
    """Return the rows of each half, ascending; the first half may have one group more.

    Groups stay whole: twins in both halves would make the halves agree.
    """
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    halves = np.array_split(order, 2)  # groups
    return [np.flatnonzero(np.isin(groups, half)) for half in halves]


def first_halves(
    groups: Int[ndarray, " prompt"], *, n_splits: int, seed: int
) -> Float[ndarray, "split prompt"]:
    """Return 1 for the prompts in the first half of each split, 0 for the others.

    Groups stay whole, as in `split_prompts`.
    """
    first = np.zeros((n_splits, len(groups)))
    for number in range(n_splits):
        rows, _ = split_prompts(groups, seed=(seed, number))
        first[number, rows] = 1
    return first


def half_means(
    values: Float[ndarray, "value prompt"], bootstrap: Bootstrap, groups: Groups = None
) -> tuple[Float[ndarray, "sample value"], Float[ndarray, "sample value"]]:
    """Return the mean over prompts of each value on both halves of many random splits of groups."""
    sums, sizes = group_sums(values, groups)
    draws = np.random.default_rng(bootstrap.seed).random((bootstrap.samples, len(sizes)))
    first = (draws.argsort(1) < len(sizes) // 2).astype(float)  # [sample, group], 1 in that half
    one, two = (half @ sums.T / (half @ sizes)[:, None] for half in (first, 1 - first))
    return one, two


def split_interval(
    estimate: float,
    first: Float[ndarray, " sample"],
    second: Float[ndarray, " sample"],
    bootstrap: Bootstrap,
) -> Interval:
    """Return a normal interval of a sum whose signs come from one half and sizes from the other.

    `first` and `second` are the sum on random splits, with the halves in either part; `estimate`
    is its mean. Two sources of noise are told apart by them:

    - Sizes: half the difference of `first` and `second`. For values far from 0, whose sign is
      certain, its variance over splits is that of the sum.
    - Signs: their mean, which does not vary then. For a value of 0 the variance of the sum is that
      of the difference and 0.36 times that of the mean (by integration of the normal density). It
      is taken 0.5 times, which is on the safe side.
    """
    if len(first) < 2 or not np.isfinite(first).all():
        return float("nan"), float("nan")
    variance = np.var((first - second) / 2) + np.var((first + second) / 2) / 2
    half = NormalDist().inv_cdf((1 + bootstrap.level) / 2) * float(np.sqrt(variance))
    return estimate - half, estimate + half


def pearson(x: Float[ndarray, " value"], y: Float[ndarray, " value"]) -> tuple[float, float]:
    """Return Pearson's correlation and its two-sided p value, by permutation.

    p is twice the share of orders of y with a correlation at least as far on the same side, and at
    most 1. All orders count for up to eight values, and a random sample of them for more. Nothing
    is assumed of how values are distributed. With three values, p is never below 1/3, and with
    four never below 1/12.

    Both are NaN for fewer than three values, and where x or y is constant.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    from scipy import stats  # takes a second to import, which most jobs do not need

    orders = stats.PermutationMethod(n_resamples=N_ORDERS, rng=np.random.default_rng(0))
    result = stats.pearsonr(x, y, method=orders)
    return float(result.statistic), float(result.pvalue)


def share_interval(share: float, n: int, *, level: float) -> Interval:
    """Return Wilson's interval of a share of n independent cases; also good near 0 and 1."""
    if n < 2:
        return float("nan"), float("nan")
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return middle - half, middle + half


def p_of_share(share: float, n: int, *, margin: float) -> float:
    """Return the p value of a share, if its expectation is 1/2 or differs by at most `margin`.

    It is the probability of a share of n cases at least as far from 1/2, on either side, at the
    margin (binomial). A case may count half.
    """
    if not n:
        return float("nan")
    # Not from scipy, which takes a second of CPU time to import.
    k = np.arange(n + 1)
    logs = np.array([math.lgamma(i + 1) for i in range(n + 1)])  # [i], log of i!
    ways = logs[n] - logs - logs[::-1]  # [k], log of the binomial coefficient
    chance = np.exp(ways + k * math.log(0.5 + margin) + (n - k) * math.log(0.5 - margin))
    as_far = np.abs(k / n - 0.5) >= abs(share - 0.5) - 1e-9
    return min(1.0, float(chance[as_far].sum()))


def sign_flip_p(values: Float[ndarray, " group"], *, seed: int) -> float:
    """Return the p value of a mean above 0, if values lie symmetrically around 0.

    It is the share of means as large among values whose signs are drawn at random, `N_FLIPS` times;
    the values themselves are one more draw, so that p is never 0.
    """
    if len(values) < 2:
        return float("nan")
    signs = np.random.default_rng(seed).integers(0, 2, (N_FLIPS, len(values))) * 2 - 1
    sums, found = signs @ values, values.sum()
    as_large = sums >= found - 1e-9 * np.abs(values).sum()  # equal up to rounding
    return float((1 + as_large.sum()) / (1 + N_FLIPS))


def corrected(p: Float[ndarray, " test"]) -> Float[ndarray, " test"]:
    """Return p values corrected for their number, as Benjamini and Hochberg do (1995).

    Of the tests whose corrected p is below some q, a share q is false on average, or less. That
    also holds if tests depend on each other positively, as those of neighbouring steps do. NaN
    stays NaN, and is no test.
    """
    known = ~np.isnan(p)
    result = np.full(p.shape, np.nan)
    if known.any():
        from scipy import stats  # takes a second to import, which most jobs do not need

        result[known] = stats.false_discovery_control(p[known])
    return result


def draws_of_mean(
    values: Float[ndarray, " model"],
    drawn: Float[ndarray, "sample model"],
    *,
    generator: np.random.Generator,
) -> Float[ndarray, " sample"]:
    """Return draws of the mean over models, which other models of the kind would give.

    Each has the noise of one resample of every model, and that of a mean of so many models
    (Student's t). The spread of `values` holds the noise of the prompts too, which so counts
    twice: intervals are rather too wide. NaN for one model.
    """
    n = len(values)
    if n < 2:
        return np.full(len(drawn), np.nan)
    error = values.std(ddof=1) / math.sqrt(n)
    return np.asarray(drawn.mean(1) + error * generator.standard_t(n - 1, len(drawn)))


def draws_of_slope(
    x: Float[ndarray, " model"],
    values: Float[ndarray, " model"],
    drawn: Float[ndarray, "sample model"],
    *,
    generator: np.random.Generator,
) -> Float[ndarray, " sample"]:
    """Return draws of the slope of `values` on x by least squares, likewise.

    NaN for fewer than three models, and where x is constant.
    """
    n, apart = len(values), x - x.mean()
    if n < 3 or not (spread := (apart**2).sum()):
        return np.full(len(drawn), np.nan)
    residuals = values - values.mean() - apart * (apart @ values) / spread
    error = math.sqrt((residuals**2).sum() / (n - 2) / spread)
    return np.asarray(drawn @ apart / spread + error * generator.standard_t(n - 2, len(drawn)))


def p_within(drawn: Float[ndarray, " sample"], low: float, high: float) -> float:
    """Return the p value of "the truth is not between low and high": two one-sided tests.

    Small if it is between them. `drawn` are draws of the estimate.
    """
    return max(_share(drawn <= low), _share(drawn >= high))


def p_outside(drawn: Float[ndarray, " sample"], low: float, high: float) -> float:
    """Return the p value of "the truth is between low and high": small if it is outside."""
    return min(1.0, 2 * min(_share(drawn >= low), _share(drawn <= high)))


def _share(true: Bool[ndarray, " sample"]) -> float:
    """Return the share of draws, at least one of them."""
    return float((1 + true.sum()) / (1 + len(true)))


class MeanTest(NamedTuple):
    """A mean, its interval at 95 %, and p values of "not above the bound" and "not below"."""

    low: float
    high: float
    p_above: float
    p_below: float


def mean_test(values: Float[ndarray, " model"], *, bound: float) -> MeanTest:
    """Return Student's t tests of a mean against a bound, and its interval.

    All are NaN for fewer than two values, and where all values are the same.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return MeanTest(*[float("nan")] * 4)
    from scipy import stats  # takes a second to import, which most jobs do not need

    above = stats.ttest_1samp(values, bound, alternative="greater")
    below = stats.ttest_1samp(values, bound, alternative="less")
    interval = stats.ttest_1samp(values, bound).confidence_interval(0.95)
    ends = float(interval.low), float(interval.high)
    return MeanTest(*ends, float(above.pvalue), float(below.pvalue))


def binomial_p(k: int, n: int, chance: float) -> float:
    """Return the p value of k or more of n with this chance each: exact, one-sided."""
    from scipy import stats  # takes a second to import, which most jobs do not need

    return float(stats.binomtest(k, n, chance, alternative="greater").pvalue)
