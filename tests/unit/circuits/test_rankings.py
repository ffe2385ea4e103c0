import numpy as np
import pytest

from circuitlapse import EdgeScores
from circuitlapse.circuits.rankings import (
    FRACTIONS,
    RankingCurves,
    areas,
    random_order,
    ranked_at_random,
    ranked_by_score,
)
from circuitlapse.models.graph import Graph

GRAPH = Graph(2, 2)


def scores():
    values = np.random.default_rng(0).normal(size=GRAPH.exists.shape)
    return EdgeScores(GRAPH, np.where(GRAPH.exists, values, np.nan))


def count_edges(circuits):
    return np.array([[circuit.n_edges] * 3 for circuit in circuits], dtype=float)


def test_every_ranking_is_evaluated_at_every_share_of_the_edges():
    ranked = [ranked_by_score(scores()), ranked_at_random(GRAPH, n_random=2, seed=11)]
    curves = RankingCurves.joined(
        RankingCurves.of(part, count_edges(part.circuits), held_out=part is ranked[1])
        for part in ranked
    )
    assert curves.held_out.tolist() == [name == "random" for name in curves.ranking]
    assert list(dict.fromkeys(curves.ranking)) == ["signed", "absolute", "random"]
    assert [int(n) for n in dict.fromkeys(curves.seed)] == [-1, 11, 12]
    assert curves.metric.shape == (4 * len(FRACTIONS), 3)
    np.testing.assert_array_equal(curves.metric[:, 0], curves.n_edges)
    whole = curves.fraction == 1
    assert set(curves.n_edges[whole]) == {GRAPH.n_edges}
    half = curves.fraction == 0.5
    assert set(curves.n_requested[half]) == {GRAPH.n_edges // 2}


def test_random_circuits_are_drawn_anew_for_every_seed_and_the_same_for_the_same():
    drawn, again = (ranked_at_random(GRAPH, n_random=2, seed=1).circuits for _ in range(2))
    for one, other in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    one, other = (drawn[seed * len(FRACTIONS) + 7] for seed in (0, 1))
    assert (one.mask != other.mask).any()


def test_without_random_rankings_there_are_none():
    ranked = ranked_at_random(GRAPH, n_random=0, seed=1)
    assert len(RankingCurves.of(ranked, np.zeros((0, 3)), held_out=True).seed) == 0


def test_areas_are_those_of_a_hand():
    fraction, f_norm = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.5, 1.0])
    cpr, cmd = areas(fraction, f_norm)
    assert cpr == pytest.approx(0.375 + 0.625)
    assert cmd == pytest.approx(0.5 * 1.5 / 2 + 0.5 * 0.5 / 2)


def test_a_perfect_circuit_of_any_size_has_no_distance_from_the_model():
    fraction = np.array(FRACTIONS)
    cpr, cmd = areas(fraction, np.ones(len(fraction)))
    assert (cpr, cmd) == (pytest.approx(0.999), 0)


def test_with_nodes_every_node_is_as_likely_to_be_the_first():
    """Also one with few edges, whose sum of random scores would be small."""
    joined = [random_order(GRAPH, seed=seed, how="nodes", first=2)[1] for seed in range(700)]
    senders = [int(source) for source, _ in joined]
    receivers = [int(GRAPH.target_nodes[target]) for _, target in joined]
    node = np.where(np.array(senders) > 0, senders, receivers)  # the other end is input or logits
    counts = np.bincount(node, minlength=len(GRAPH.sources))[1:]
    expected = 700 / len(counts)
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
