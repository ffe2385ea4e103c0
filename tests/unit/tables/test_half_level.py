import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from circuitlapse.tables.half_level import (
    draw_half_levels,
    half_level_tokens,
    monotone,
)

TOKENS = np.array([0, *(1000 * 2 ** np.arange(10))])
DENSE = np.array([0, *np.geomspace(1000, 1_000_000, 60).astype(int)])


def sigmoid(tokens, *, half, slope=4.0, top=3.0):
    """Level of a curve whose rise is at its middle after `half` tokens."""
    return top / (1 + (np.maximum(tokens, 1e-9) / half) ** -slope)


def test_the_monotone_curve_is_that_of_scipy():
    levels = np.random.default_rng(0).normal(size=(40, 13)).cumsum(1)
    expected = [isotonic_regression(row).x for row in levels]
    np.testing.assert_allclose(monotone(levels), expected, atol=1e-12)


@pytest.mark.parametrize("half", [3_000, 40_000, 400_000])
def test_the_half_level_of_a_sigmoid_is_where_it_was_put(half):
    levels = sigmoid(DENSE, half=half, slope=6.0)[None]
    assert half_level_tokens(levels, DENSE)[0] == pytest.approx(half, rel=0.03)


def test_between_step_0_and_the_next_one_the_level_is_linear_in_the_tokens():
    assert half_level_tokens(np.array([[0.0, 2.0, 3.0]]), np.array([0, 1000, 4000]))[0] == 750


def test_a_curve_that_falls_or_stays_has_no_half_level():
    levels = np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    found = half_level_tokens(levels, np.array([0, 10, 20]))
    assert np.isnan(found).tolist() == [True, True, False]


def test_a_spike_is_no_half_level():
    levels = np.array([[0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0]])
    assert half_level_tokens(levels, TOKENS)[0] > TOKENS[6]


@pytest.mark.parametrize("tokens", [TOKENS, DENSE], ids=["coarse", "dense"])
def test_the_interval_covers_the_half_level_of_noisy_curves_in_95_percent_of_draws(tokens):
    """200 curves, each measured on 60 groups that differ in their level and at each step."""
    generator, covered = np.random.default_rng(1), []
    for _ in range(200):
        half = np.exp(generator.uniform(np.log(3_000), np.log(200_000)))
        curve = sigmoid(tokens, half=half)
        groups = curve * generator.normal(1, 0.4, (60, 1))  # [group, step]
        groups = groups + generator.normal(0, 1.0, groups.shape)
        times = generator.multinomial(60, np.full(60, 1 / 60), 500)
        drawn = draw_half_levels(times @ groups / 60, tokens, generator=generator)
        low, high = np.percentile(drawn, (2.5, 97.5))
        covered.append(low <= half <= high)
    assert np.mean(covered) >= 0.92  # 95 % of 200 draws, less two standard errors
