"""Many halves of simulated scores: 40 prompts and the edges of three layers with two heads."""

from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.circuits.discovery import splits
from circuitlapse.circuits.discovery.splits import REACH, Splits, compare_splits
from circuitlapse.circuits.overlap import comparison_sizes, overlaps, parts_of
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.statistics import first_halves
from circuitlapse.types import Level, Weighting
from tests.unit.circuits.discovery.test_split_half import discover, how, pairs  # noqa: F401

GRAPH = Graph(3, 2)
HOW = {"how": "greedy", "n_edges": 10, "seed": 0}
TWINS = np.arange(40) // 2


def simulated(seed: int, *, noise: float = 1.0, n_prompts: int = 40):
    """Return the score of every edge on every prompt: a few edges matter, and prompts differ."""
    truth = np.random.default_rng(0).exponential(size=GRAPH.exists.shape) ** 3
    draw = np.random.default_rng(seed)
    scores = truth + noise * draw.normal(size=(n_prompts, *GRAPH.exists.shape))
    return np.where(GRAPH.exists, scores, np.nan)


def split(per_prompt, groups=TWINS, *, n_splits=20, **changes):
    first = first_halves(groups, n_splits=n_splits, seed=0)
    halves = np.tensordot(first, per_prompt, 1)
    return compare_splits(GRAPH, per_prompt.sum(0), halves, **HOW | changes)


def test_halves_keep_groups_whole_and_every_split_is_another():
    first = first_halves(TWINS, n_splits=20, seed=0)
    assert set(np.unique(first)) == {0, 1}
    np.testing.assert_array_equal(first[:, ::2], first[:, 1::2])
    assert (first.sum(1) == 20).all()
    assert len(np.unique(first, axis=0)) == 20


def test_the_same_seed_gives_the_same_halves():
    first, again, other = (first_halves(TWINS, n_splits=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_overlap_is_that_of_the_circuits_of_the_mean_scores_of_both_halves():
    per_prompt = simulated(1)
    found = split(per_prompt)
    first = first_halves(TWINS, n_splits=20, seed=0).astype(bool)
    at = int(np.flatnonzero(found.sizes == 11)[0])
    for number in (0, 19):
        scores = [per_prompt[rows].mean(0) for rows in (first[number], ~first[number])]
        orders = [edge_order(EdgeScores(GRAPH, half)) for half in scores]
        parts = [
            parts_of(cut(GRAPH, order, 11), half)
            for order, half in zip(orders, scores, strict=True)
        ]
        np.testing.assert_allclose(found.overlap[number, at], overlaps(*parts), rtol=1e-12)


def test_circuits_are_compared_at_the_common_sizes_around_that_of_all_prompts():
    found = split(simulated(1))
    assert set(found.sizes) <= set(comparison_sizes(GRAPH))
    assert found.sizes[0] == 1
    assert 10 < found.sizes[-1] <= REACH * 10
    assert found.overlap.shape == (20, len(found.sizes), len(Level), len(Weighting))


def test_without_noise_all_halves_agree_and_noise_alone_makes_them_differ():
    same, noisy = split(simulated(1, noise=0.0)), split(simulated(1, noise=3.0))
    known = ~np.isnan(same.overlap)
    np.testing.assert_allclose(same.overlap[known], 1)
    np.testing.assert_allclose(same.rank_correlation, 1)
    assert noisy.overlap[:, -3:].mean() < 0.8
    assert noisy.rank_correlation.mean() < 0.7


def test_two_samples_of_one_model_are_below_the_floor_about_as_often_as_it_says(monkeypatch):
    """Two samples of as many prompts as a half has: 5 % should be below a floor of 5 %."""
    monkeypatch.setattr(splits, "comparison_sizes", lambda _: np.array([11]))
    below = []
    for seed in range(100):
        found = split(simulated(seed), np.arange(40))
        floor = np.quantile(found.overlap[:, 0, 0, 0], 0.05, method="weibull")
        fresh = [simulated(1000 + 2 * seed + half, n_prompts=20).mean(0) for half in (0, 1)]
        parts = [
            parts_of(cut(GRAPH, edge_order(EdgeScores(GRAPH, half)), 11), half) for half in fresh
        ]
        below.append(overlaps(*parts)[0, 0] < floor)
    assert 0.01 <= np.mean(below) <= 0.10


def test_nothing_is_there_without_splits():
    none = Splits.none()
    assert none.seed is None
    assert none.overlap.shape == (0, 0, len(Level), len(Weighting))


@pytest.mark.parametrize("method", ["eap", "eap_ig_activations"])
def test_a_search_splits_the_scores_of_its_prompts(random_model, pairs, method):  # noqa: F811
    found = discover(random_model, pairs, method=method, splits=20, max_fraction=0.1)
    assert found.splits.overlap.shape[0] == len(found.splits.rank_correlation) == 20
    assert found.splits.seed == how()["bootstrap"].seed
    assert 0 < found.splits.rank_correlation.min() <= found.splits.rank_correlation.max() < 1


@pytest.mark.parametrize("changes", [{"splits": 0}, {"noise_floor": False}])
def test_splits_can_be_switched_off(random_model, pairs, changes):  # noqa: F811
    found = discover(random_model, pairs, max_fraction=0.1, **changes)
    assert len(found.splits.overlap) == 0


def test_nineteen_prompts_are_not_split(random_model, pairs):  # noqa: F811
    found = discover(random_model, pairs.batch(0, 19), max_fraction=0.1)
    assert found.status != "no_behaviour"
    assert len(found.splits.overlap) == 0
