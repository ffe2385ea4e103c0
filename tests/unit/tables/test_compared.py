"""Circuits of one size against the noise floor; a graph of 3 layers of 2 heads, 94 edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.overlap import RandomCircuits, comparison_size, comparison_sizes
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.tables.compared import at_step, compare_steps, noise_floor
from tests.records import record_of

GRAPH = Graph(3, 2)
RANDOM = RandomCircuits(GRAPH, how="greedy", largest=60)
SIZES = comparison_sizes(GRAPH)
SIZE = comparison_size(GRAPH, 20)
TRUTH = np.random.default_rng(0).exponential(size=GRAPH.exists.shape) ** 3


def record(n_edges: int, *, noise: float = 0.0, seed: int = 0, overlap=None, **changes):
    """Return the record of a circuit of so many edges, by scores with some noise.

    `overlap` are those of the splits, the same at all sizes.
    """
    values = TRUTH + noise * np.random.default_rng(seed).normal(size=TRUTH.shape)
    scores = EdgeScores(GRAPH, np.where(GRAPH.exists, values, np.nan))
    edges = edge_order(scores)
    order = np.full(GRAPH.exists.shape, -1)
    order[tuple(edges.T)] = np.arange(len(edges))
    made = {
        "scores": scores.values,
        "order": order,
        "in_circuit": cut(GRAPH, edges, n_edges).mask,
        "status": "ok",
        "n_requested": n_edges,
        "m_circuit": np.ones(2),
    }
    if overlap is not None:
        per_size = np.repeat(np.asarray(overlap, dtype=float), len(SIZES)).reshape(-1, len(SIZES))
        made |= {
            "split_seed": 0,
            "split_sizes": SIZES,
            "split_overlap": np.tile(per_size[:, :, None, None], (1, 1, 2, 2)),
            "split_rank_correlation": np.ones(len(per_size)),
        }
    return record_of(GRAPH, (), **made | changes)


def compared(one, other, *, size: int) -> pd.DataFrame:
    at = [at_step(each, GRAPH, size) for each in (one, other)]
    return pd.DataFrame(compare_steps(*at, size=size, random=RANDOM))


def test_the_same_scores_with_another_threshold_are_no_change():
    """Circuits of 14 and 40 edges share a third of them, though the model is the same."""
    floor = np.linspace(0.6, 1.0, 20)
    small, large = record(14, overlap=floor), record(40, overlap=floor)
    rows = compared(small, large, size=comparison_size(GRAPH, 40))
    edges = rows[(rows["level"] == "edge") & (rows["weighting"] == "none")].iloc[0]
    assert edges["jaccard"] < floor.min()
    assert (rows["jaccard_matched"] == 1).all()
    assert (rows["jaccard_corrected"].dropna() == 1).all()
    assert rows["rank_correlation"].tolist() == pytest.approx([1] * 4)
    assert rows["changed"].tolist() == [False] * 4


def test_another_circuit_of_the_same_size_is_a_change():
    floor = np.linspace(0.6, 1.0, 20)
    one, other = record(20, overlap=floor), record(20, noise=5.0, overlap=floor)
    rows = compared(one, other, size=SIZE)
    assert rows["changed"].tolist() == [True] * 4
    assert (rows["rank_correlation"] < 0.9).all()


def test_an_overlap_equal_to_the_floor_is_no_change():
    """Splits are stored in float32, in which 3/5, for instance, is a little larger."""
    one, other = record(20), record(20, noise=5.0)
    for equal in compared(one, other, size=SIZE)["jaccard_matched"].unique():
        floor = np.full(20, np.float32(equal))
        rows = compared(record(20, overlap=floor), record(20, noise=5.0, overlap=floor), size=SIZE)
        tied = rows[rows["jaccard_matched"] == equal]
        assert len(tied)
        assert not tied["changed"].any()


def test_a_change_has_to_be_below_the_floor_of_both_steps():
    """The overlap is above the floor of one step alone."""
    high, low = np.linspace(0.99, 1.0, 20), np.linspace(0.0, 0.1, 20)
    one, other = record(20, overlap=high), record(20, noise=1.0, seed=2, overlap=low)
    rows = compared(one, other, size=SIZE)
    assert (rows["jaccard_matched"] < 0.99).all()
    assert (rows["floor_low"] < 0.01).all()
    assert rows["changed"].tolist() == [False] * 4


def test_the_floor_is_the_quantile_that_a_new_overlap_is_below_in_one_of_twenty():
    values = np.random.default_rng(0).permutation(np.arange(1, 20) / 20)
    median, low = noise_floor(record(5, overlap=values), int(SIZES[3]))
    assert low[0, 0] == pytest.approx(0.05)
    assert median[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "overlap", [None, np.ones(18), np.append(np.ones(18), [np.nan] * 5)], ids=["none", "18", "nan"]
)
def test_without_enough_splits_nothing_is_said_of_a_change(overlap):
    one, other = record(20, overlap=overlap), record(20, noise=5.0, overlap=overlap)
    rows = compared(one, other, size=SIZE)
    assert rows["jaccard_matched"].notna().all()
    assert rows[["floor_low", "floor_median"]].isna().all(axis=None)
    assert rows["changed"].isna().all()


def test_an_overlap_by_chance_is_zero_once_corrected_and_weights_have_no_chance():
    one = record(20)
    drawn = [record(20, noise=1e6, seed=seed) for seed in range(1, 41)]
    rows = pd.concat([compared(one, other, size=SIZE) for other in drawn])
    edges = rows[(rows["level"] == "edge") & (rows["weighting"] == "none")]
    assert abs(edges["jaccard_corrected"].mean()) < 0.05
    assert edges["jaccard_chance"].between(0.05, 0.4).all()
    assert rows.loc[rows["weighting"] == "abs", "jaccard_corrected"].isna().all()


def test_the_correlation_is_that_of_absolute_scores():
    one = record(20, noise=1.0)
    opposite = record(20, noise=1.0, scores=-one.scores)
    rows = compared(one, opposite, size=SIZE)
    assert rows["rank_correlation"].tolist() == pytest.approx([1] * 4)
