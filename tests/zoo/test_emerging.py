"""Half levels, slope and lag of models that emerge at known times."""

from __future__ import annotations

import numpy as np
import pytest

from tests.zoo.emerging import (
    LAG,
    SIZES,
    SLOPE,
    TOKENS,
    Emerging,
    against_truth,
    attention_back,
    measure,
    risen,
)


@pytest.fixture(scope="module")
def found():
    return against_truth(measure()).set_index(["model", "what"])


def test_a_sigmoid_is_half_risen_at_its_middle():
    assert [risen(tokens, 1000.0) for tokens in (0, 1000)] == [0, 0.5]
    assert risen(1e9, 1000.0) == pytest.approx(1)
    assert attention_back(0.0) == pytest.approx(np.mean([1 / (p + 1) for p in range(1, 6)]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["ioi", "prev_token"])
def test_half_levels_are_found_within_a_fifth_of_the_distance_of_steps(found, size, name):
    row = found.loc[size, f"tokens, {name}"]
    assert np.log2(row["found"] / row["truth"]) == pytest.approx(0, abs=0.2)
    assert row["low"] < row["truth"] < row["high"]


def test_slope_and_lag_are_found(found):
    for what in ("slope, ioi", "slope, prev_token", "lag, prev_token"):
        row = found.loc["all", what]
        assert row["low"] < row["truth"] < row["high"], what
        assert row["found"] == pytest.approx(row["truth"], abs=0.1), what
    assert found.loc["all", "slope, ioi"]["truth"] == SLOPE
    assert found.loc["all", "lag, prev_token"]["truth"] == pytest.approx(LAG, abs=0.2)


def test_all_half_levels_lie_between_two_steps():
    models = [Emerging(size) for size in SIZES]
    times = [time for one in models for time in (one.task_half, one.component_half)]
    assert TOKENS[1] < min(times) < max(times) < TOKENS[-2]
