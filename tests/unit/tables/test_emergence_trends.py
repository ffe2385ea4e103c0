"""Simulated models whose tasks and components emerge at times with a known slope and lag."""

from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.schemas import EMERGENCE_TRENDS
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.tables.emergence_trends import MARGIN, Emerged, emergence_trends
from circuitlapse.tables.half_level import draw_half_levels, half_level_tokens
from tests.unit.tables.test_half_level import TOKENS, sigmoid

BOOTSTRAP = Bootstrap(samples=300, seed=3, level=0.95)
SIZES = [70e6, 160e6, 410e6, 1e9, 2.8e9]
N_DRAWS = 200


def emerged(model, kind, name, time, generator, *, n_groups=60) -> Emerged:
    """What the table finds of a sigmoid with its half at 10**time, measured on noisy groups."""
    groups = sigmoid(TOKENS, half=10**time) * generator.normal(1, 0.4, (n_groups, 1))
    groups = groups + generator.normal(0, 1.0, groups.shape)  # [group, step]
    times = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), BOOTSTRAP.samples)
    drawn = draw_half_levels(times @ groups / n_groups, TOKENS, generator=generator)
    (half,) = half_level_tokens(groups.mean(0)[None], TOKENS)
    name_and_size = (f"m{model}", int(SIZES[model]))
    return Emerged(*name_and_size, kind, name, np.log10(half), np.log10(drawn))


def trends(slope, lag, generator, *, between=0.1, n_models=5):
    """Rows of models with a known slope and lag, and noise of their own (log10 tokens)."""
    found = []
    for model in range(n_models):
        task = 4.2 + slope * np.log10(SIZES[model] / SIZES[2]) + generator.normal(0, between)
        component = task + lag + generator.normal(0, between)
        found.append(emerged(model, "task", "ioi", task, generator))
        found.append(emerged(model, "component", "copy", component, generator))
    names = [f"m{model}" for model in range(n_models)]
    table = emergence_trends(found, originals=names, tasks_of={"copy": "ioi"}, bootstrap=BOOTSTRAP)
    EMERGENCE_TRENDS.check(table, where="test")
    return table.set_index(["trend", "name"])


@pytest.mark.parametrize(("slope", "lag"), [(0.0, 0.0), (-0.4, 0.5)])
def test_intervals_hold_the_known_slope_and_lag_in_95_percent_of_200_draws(slope, lag):
    generator = np.random.default_rng(7)
    found = [trends(slope, lag, generator) for _ in range(N_DRAWS)]
    for trend, name, truth in [("slope", "ioi", slope), ("lag", "copy", lag)]:
        rows = [table.loc[trend, name] for table in found]
        covered = np.mean([row.low <= truth <= row.high for row in rows])
        assert covered >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / N_DRAWS)
        assert np.mean([row.value for row in rows]) == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize("sign", [-1, 1])
def test_at_the_margin_neither_verdict_comes_more_often_than_its_level(sign):
    """Truth at the margin is similar and different at once: each may be said in 5 % of draws."""
    generator = np.random.default_rng(8)
    found = [trends(sign * MARGIN, sign * MARGIN, generator) for _ in range(N_DRAWS)]
    for trend, name in [("slope", "ioi"), ("lag", "copy")]:
        rows = [table.loc[trend, name] for table in found]
        for p in ("p_similar", "p_different"):
            assert np.mean([row[p] <= 0.05 for row in rows]) <= 0.05 + 2 * 0.0154


def test_what_is_far_from_the_margin_is_found():
    generator = np.random.default_rng(9)
    same = [trends(0.0, 0.0, generator, between=0.02) for _ in range(20)]
    apart = [trends(-0.7, 0.7, generator, between=0.02) for _ in range(20)]
    for row, power in [(("slope", "ioi"), 0.5), (("lag", "copy"), 0.9)]:
        assert np.mean([table.loc[row].p_similar <= 0.05 for table in same]) >= power
        assert np.mean([table.loc[row].p_different <= 0.05 for table in apart]) >= 0.8


def test_two_sizes_have_a_lag_but_no_slope():
    table = trends(0.0, 0.3, np.random.default_rng(1), n_models=2)
    assert table.loc[("slope", "ioi"), "status"] == "too_few_models"
    assert np.isnan(table.loc[("slope", "ioi"), ["value", "low", "p_similar"]].astype(float)).all()
    lag = table.loc[("lag", "copy")]
    assert (lag.status, lag.n, lag.n_same_sign) == ("ok", 2, 2)


def test_seeds_have_a_spread_and_do_not_count_as_sizes():
    draws = np.random.default_rng(0).normal(5.0, 0.01, (5, 300))
    times = [5.0, 5.3, 5.1, 5.5, 5.2]
    sizes = [100, 200, 400, 400, 400]
    found = [
        Emerged(f"m{at}", size, "task", "ioi", time, row)
        for at, (size, time, row) in enumerate(zip(sizes, times, draws, strict=True))
    ]
    table = emergence_trends(found, originals=["m0", "m1", "m2"], tasks_of={}, bootstrap=BOOTSTRAP)
    (row,) = table.itertuples()
    assert row.n == 3
    assert row.sd_sizes == pytest.approx(np.std(times[:3], ddof=1))
    assert row.sd_seeds == pytest.approx(np.std(times[2:], ddof=1))
