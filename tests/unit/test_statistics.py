import itertools
import math

import numpy as np
import pytest

from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import (
    bootstrap_interval,
    corrected,
    group_sums,
    group_values,
    mean_interval,
    mean_ranks,
    p_of_share,
    pearson,
    percentile_interval,
    ratio_interval,
    resampled_means,
    share_interval,
    sign_flip_p,
    spearman,
)

BOOTSTRAP = Bootstrap(samples=4000, level=0.95, seed=0)


def interval_of_means(values, statistic, bootstrap, groups=None):
    """Return the interval of a function of many means."""
    return percentile_interval(statistic(resampled_means(values, bootstrap, groups)), bootstrap)


def test_the_interval_of_a_normal_mean_is_close_to_the_textbook_one():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    low, high = mean_interval(values, BOOTSTRAP)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_interval_is_that_of_scipy():
    from scipy import stats

    values = np.random.default_rng(5).exponential(size=(2, 40))

    def ratio(over, under, axis=-1):
        return over.mean(axis) / under.mean(axis)

    theirs = stats.bootstrap(
        tuple(values),
        ratio,
        paired=True,
        method="percentile",
        n_resamples=BOOTSTRAP.samples,
        confidence_level=BOOTSTRAP.level,
        rng=np.random.default_rng(BOOTSTRAP.seed),
    ).confidence_interval
    assert ratio_interval(*values, BOOTSTRAP) == pytest.approx(tuple(theirs), rel=1e-12)


def test_prompts_are_resampled_together_in_a_ratio():
    """The ratio of a thing to its own double is one half in every resample."""
    values = np.random.default_rng(2).uniform(1, 9, size=30)
    assert ratio_interval(values, 2 * values, BOOTSTRAP) == pytest.approx((0.5, 0.5))


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=50)
    assert mean_interval(values, BOOTSTRAP) == mean_interval(values, BOOTSTRAP)
    assert mean_interval(values, BOOTSTRAP) != mean_interval(
        values, BOOTSTRAP.model_copy(update={"seed": 1})
    )


def test_one_prompt_has_no_interval():
    assert all(math.isnan(end) for end in mean_interval(np.array([1.0]), BOOTSTRAP))


def test_the_interval_of_a_function_of_means_is_that_of_the_function_of_each_value():
    values = np.random.default_rng(4).normal(3, 1, size=(2, 30))
    got = interval_of_means(values, lambda means: means[..., 0] / means[..., 1], BOOTSTRAP)
    assert got == pytest.approx(ratio_interval(*values, BOOTSTRAP))


def test_a_function_of_means_that_is_not_defined_for_a_resample_has_no_interval():
    values = np.array([[1.0, 0.0, 0.0]])

    def inverse(means):
        with np.errstate(divide="ignore"):
            return np.where(means[..., 0] > 0, 1 / means[..., 0], np.nan)

    assert all(math.isnan(end) for end in interval_of_means(values, inverse, BOOTSTRAP))


def test_the_correlation_is_that_of_numpy_and_its_p_value_counts_all_orders():
    draw = np.random.default_rng(4)
    x, y = draw.normal(size=5), draw.normal(size=5)
    r, p = pearson(x, y)
    assert r == pytest.approx(np.corrcoef(x, y)[0, 1])
    chance = np.array([np.corrcoef(x, order)[0, 1] for order in itertools.permutations(y)])
    one_sided = min((chance >= r - 1e-12).mean(), (chance <= r + 1e-12).mean())
    assert p == pytest.approx(2 * one_sided)


def test_many_models_have_a_sample_of_the_orders_always_the_same_one():
    draw = np.random.default_rng(4)
    x = draw.normal(size=12)
    y = 0.5 * x + draw.normal(size=12)
    r, p = pearson(x, y)
    assert pearson(x, y) == (r, p)
    chance = np.array([np.corrcoef(x, draw.permutation(y))[0, 1] for _ in range(4000)])
    assert p == pytest.approx(2 * (chance >= r).mean(), abs=0.02)


def test_the_p_value_of_a_correlation_is_below_a_level_as_often_as_it_says():
    """Skewed sizes that do not depend on scale, in five models; of 120 orders, none beats 1/60."""
    draw = np.random.default_rng(0)
    x = np.log([70e6, 160e6, 410e6, 1.4e9, 2.8e9])
    p = np.array([pearson(x, draw.lognormal(size=5))[1] for _ in range(1000)])
    assert p.min() == pytest.approx(2 / 120)
    for level in (0.05, 0.1, 0.3):  # within three standard errors, and never far above
        assert (p <= level).mean() == pytest.approx(level, abs=0.03)


def test_three_models_in_perfect_order_prove_nothing():
    """By chance alone, three values come in one of the two perfect orders every third time."""
    r, p = pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    assert (r, p) == (pytest.approx(1.0), pytest.approx(1 / 3))


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [3.0, 5.0]), ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0])])
def test_two_values_or_equal_ones_have_no_correlation(x, y):
    assert all(math.isnan(part) for part in (*pearson(np.array(x), np.array(y)),))
    assert all(math.isnan(part) for part in (*pearson(np.array(y), np.array(x)),))


def mirrored(draw, n_groups):
    """Return groups of two, or some of one, whose prompts share most of their deviation."""
    sizes = np.where(draw.random(n_groups) < 0.8, 2, 1)
    groups = draw.permutation(np.repeat(np.arange(n_groups), sizes))
    shared = draw.exponential(size=n_groups) - 1  # skewed, mean 0
    return groups, shared[groups] + 0.2 * draw.normal(size=len(groups))


def opposed(draw, n_groups):
    """Return pairs whose deviations cancel, as those of a model that prefers one answer."""
    groups = np.repeat(np.arange(n_groups), 2)
    bias = np.tile([3.0, -3.0], n_groups) + np.repeat(draw.normal(size=n_groups), 2) / 2
    return groups, bias + 0.2 * draw.normal(size=len(groups))


@pytest.mark.parametrize(
    ("make", "n_groups"), [(mirrored, 50), (mirrored, 100), (mirrored, 200), (opposed, 50)]
)
def test_intervals_over_groups_cover_the_truth_as_often_as_they_say(make, n_groups):
    """Means, ratios, and functions of means; the interval of a mean over prompts does not."""
    draw, n = np.random.default_rng(n_groups), 500
    hits = np.zeros(4)
    for seed in range(n):
        bootstrap = Bootstrap(samples=400, seed=seed)
        groups, spread = make(draw, n_groups)
        both = np.stack([8 + 2 * spread, 10 + spread + 0.1 * draw.normal(size=len(spread))])
        found = (
            (8.0, mean_interval(both[0], bootstrap, groups)),
            (0.8, ratio_interval(*both, bootstrap, groups)),
            (80.0, interval_of_means(both, lambda m: m[:, 0] * m[:, 1], bootstrap, groups)),
            (8.0, mean_interval(both[0], bootstrap)),
        )
        hits += [low <= truth <= high for truth, (low, high) in found]
    *covered, over_prompts = hits / n
    assert covered == pytest.approx([0.95] * 3, abs=0.03)
    assert over_prompts != pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("n_groups", "level"), [(10, 0.89), (20, 0.925)])
def test_with_few_groups_intervals_cover_a_little_less_than_they_say(n_groups, level):
    draw, n, hits = np.random.default_rng(n_groups), 1000, np.zeros(2)
    for seed in range(n):
        under = 10 + 3 * draw.normal(size=n_groups)
        over = 8 + 1.5 * (under - 10) + draw.normal(size=n_groups)
        bootstrap = Bootstrap(samples=400, seed=seed)
        mean, ratio = mean_interval(under, bootstrap), ratio_interval(over, under, bootstrap)
        hits += (mean[0] <= 10 <= mean[1], ratio[0] <= 0.8 <= ratio[1])
    assert hits / n == pytest.approx([level] * 2, abs=0.03)


def test_intervals_where_every_prompt_is_a_group_are_those_over_prompts_bit_for_bit():
    draw = np.random.default_rng(11)
    values, groups = draw.exponential(size=(3, 40)), draw.permutation(40)
    place = np.argsort(groups)  # the same draws meet the same prompts in this order
    rows = np.random.default_rng(BOOTSTRAP.seed).integers(0, 40, (BOOTSTRAP.samples, 40))
    by_prompts = np.percentile(values[0, place][rows].mean(-1), (2.5, 97.5))
    assert mean_interval(values[0], BOOTSTRAP, groups) == tuple(by_prompts)
    for interval in (
        lambda values, known: mean_interval(values[0], BOOTSTRAP, known),
        lambda values, known: ratio_interval(values[0], values[1], BOOTSTRAP, known),
        lambda values, known: interval_of_means(values, lambda m: m.sum(-1), BOOTSTRAP, known),
    ):
        assert interval(values[:, place], None) == interval(values, groups)
    np.testing.assert_array_equal(group_values(values[0], groups), values[0, place])


def test_the_mean_over_resamples_is_that_over_prompts_and_not_over_groups():
    """Nine prompts of 0 in one group, and 99 groups of one prompt of 1."""
    values, groups = np.r_[np.zeros(9), np.ones(99)], np.r_[np.zeros(9, int), 1:100]
    sums, sizes = group_sums(values, groups)
    assert (sums[0], sizes[0], len(sizes)) == (0, 9, 100)
    drawn = resampled_means(values[None], BOOTSTRAP, groups)[:, 0]
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.005)
    assert group_values(values, groups).mean() == pytest.approx(values.mean())


def test_the_spread_of_group_values_is_that_of_the_resampled_mean():
    groups, values = mirrored(np.random.default_rng(3), 200)
    drawn = bootstrap_interval((values + 5,), lambda m: m, Bootstrap(level=0.6827), groups)
    one_se = group_values(values + 5, groups).std(ddof=1) / 200**0.5
    assert (drawn[1] - drawn[0]) / 2 == pytest.approx(one_se, rel=0.1)
    assert one_se > 1.2 * values.std(ddof=1) / len(values) ** 0.5


def test_prompts_of_one_group_have_no_interval():
    values, groups = np.array([1.0, 2.0, 3.0]), np.zeros(3, int)
    assert all(math.isnan(end) for end in mean_interval(values, BOOTSTRAP, groups))


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_correlation_is_that_of_scipy(ties):
    from scipy import stats

    x, y = np.random.default_rng(3).normal(size=(2, 50))
    y = y + x
    if ties:
        x, y = x.round(), y.round()
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    np.testing.assert_array_equal(mean_ranks(x), stats.rankdata(x))


@pytest.mark.parametrize(("x", "y"), [([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_one_value_or_equal_ones_have_no_rank_correlation(x, y):
    assert math.isnan(spearman(np.array(x), np.array(y)))


def test_corrected_p_values_are_those_of_the_definition_and_leave_out_what_was_not_tested():
    p = np.array([0.01, math.nan, 0.04, 0.03, 0.5])
    # The largest of p * 4 / rank that is no smaller than that of the next rank.
    expected = [0.04, math.nan, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5]
    np.testing.assert_allclose(corrected(p), expected)
    assert np.isnan(corrected(np.full(3, math.nan))).all()
    assert not len(corrected(np.zeros(0)))


def test_the_share_of_false_findings_is_at_most_the_nominal_one():
    """Of 40 tests 10 are of something; the others have uniform p values."""
    draw, shares = np.random.default_rng(0), []
    for _ in range(400):
        p = np.r_[draw.uniform(0, 0.002, 10), draw.uniform(size=30)]
        found = corrected(p) <= 0.2
        shares.append(found[10:].sum() / max(1, found.sum()))
    assert 0.1 < np.mean(shares) < 0.15 + 0.02  # 0.2 * 30 / 40


@pytest.mark.parametrize(("k", "n"), [(0, 12), (5, 12), (300, 400), (400, 400)])
def test_the_interval_and_the_p_value_of_a_share_are_those_of_scipy(k, n):
    from scipy import stats

    test = stats.binomtest(k, n)
    ends = test.proportion_ci(0.9, method="wilson")
    assert share_interval(k / n, n, level=0.9) == pytest.approx((ends.low, ends.high))
    assert p_of_share(k / n, n, margin=0.0) == pytest.approx(test.pvalue)
    far = max(k, n - k)
    tails = stats.binom.sf(far - 1, n, 0.6) + stats.binom.cdf(n - far, n, 0.6)
    assert p_of_share(k / n, n, margin=0.1) == pytest.approx(tails)


def test_random_signs_give_the_share_of_all_signs():
    values = np.array([3.0, 1.0, 2.0, -0.5, 2.0, 1.0])
    sums = [np.dot(signs, values) for signs in itertools.product((-1, 1), repeat=6)]
    exact = np.mean(np.array(sums) >= values.sum() - 1e-9)
    assert sign_flip_p(values, seed=0) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(-values, seed=0) > 0.9
    assert math.isnan(sign_flip_p(values[:1], seed=0))
