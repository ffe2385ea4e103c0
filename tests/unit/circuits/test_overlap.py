"""Overlap of circuits, against sets and against random circuits; a graph of 3 layers of 2 heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hypergeom

from circuitlapse.circuits.overlap import (
    GRID_RATIO,
    RandomCircuits,
    Shares,
    _sizes_of_entry,
    comparison_size,
    comparison_sizes,
    jaccard,
    overlaps,
    parts_of,
    weighted_jaccard,
)
from circuitlapse.circuits.rankings import random_order
from circuitlapse.circuits.selection import Circuit, cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.types import Level, Selection

GRAPH, TINY = Graph(3, 2), Graph(1, 1)


def shares(**parts: float) -> Shares:
    """Parts named by letters, at their places in the alphabet."""
    names = sorted(parts)
    places = np.array([ord(name) - ord("a") for name in names], dtype=np.int64)
    return Shares(places, np.array([parts[name] for name in names], dtype=np.float64))


A = shares(x=0.5, y=0.3, z=0.2)
B = shares(w=0.4, y=0.1, z=0.5)
NOTHING = shares()


@pytest.mark.parametrize("measure", [jaccard, weighted_jaccard])
def test_a_circuit_has_all_in_common_with_itself_and_nothing_with_a_disjoint_one(measure):
    assert measure(A, A) == 1
    assert measure(A, shares(v=0.7, w=0.3)) == 0
    assert measure(A, NOTHING) == measure(NOTHING, A) == 0


def test_two_of_four_parts_in_common_are_a_half():
    assert jaccard(A, B) == jaccard(B, A) == 2 / 4


def test_shares_in_common_are_the_smaller_over_the_larger_ones():
    """Smaller: y 0.1, z 0.2. Larger: x 0.5, w 0.4, y 0.3, z 0.5."""
    assert weighted_jaccard(A, B) == pytest.approx(0.3 / 1.7)
    assert weighted_jaccard(B, A) == pytest.approx(0.3 / 1.7)


@pytest.mark.parametrize("measure", [jaccard, weighted_jaccard])
def test_two_circuits_without_parts_are_not_compared(measure):
    assert math.isnan(measure(NOTHING, NOTHING))


def test_a_circuit_whose_scores_are_all_zero_has_no_shares():
    edge = parts_of(Circuit.full(TINY), np.zeros(TINY.exists.shape)).edge
    assert math.isnan(weighted_jaccard(edge, edge))
    assert jaccard(edge, edge) == 1


def test_weighted_and_unweighted_agree_with_sets_drawn_at_random():
    """Against the definitions, spelled out with sets and dictionaries."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        one, other = (
            {int(part): draw.random() for part in draw.choice(30, size=draw.integers(1, 20))}
            for _ in range(2)
        )
        either = one.keys() | other.keys()
        larger = sum(max(one.get(part, 0), other.get(part, 0)) for part in either)
        smaller = sum(min(one.get(part, 0), other.get(part, 0)) for part in either)
        a, b = (
            Shares(np.array(sorted(parts)), np.array([parts[part] for part in sorted(parts)]))
            for parts in (one, other)
        )
        assert jaccard(a, b) == len(one.keys() & other.keys()) / len(either)
        assert weighted_jaccard(a, b) == pytest.approx(smaller / larger)


def parts_with(edges: dict[tuple[int, int], float]):
    mask, scores = np.zeros((3, 5), dtype=bool), np.full((3, 5), 9.0)
    for place, score in edges.items():
        mask[place], scores[place] = True, score
    return parts_of(Circuit(TINY, mask), scores)


def test_parts_are_the_edges_and_the_heads_and_mlps_they_touch():
    """Edges input->a0.h0<q> (-1), input->a0.h0<v> (3), a0.h0->logits (4), m0->logits (2)."""
    edge, node = parts_with({(0, 0): -1.0, (0, 2): 3.0, (1, 4): 4.0, (2, 4): 2.0})
    assert edge.part.tolist() == [0, 2, 9, 14]
    assert edge.share.tolist() == [1 / 10, 3 / 10, 4 / 10, 2 / 10]
    assert [TINY.sources[row] for row in node.part] == ["a0.h0", "m0"]
    assert node.share.tolist() == [8 / 10, 2 / 10]


@pytest.mark.parametrize("measure", [jaccard, weighted_jaccard])
def test_circuits_through_different_heads_and_mlps_have_no_node_in_common(measure):
    """Both go from the input to the logits, as every circuit does."""
    by_head = parts_with({(0, 2): 3.0, (1, 4): 4.0})
    by_mlp = parts_with({(0, 3): 1.0, (2, 4): 4.0})
    assert measure(by_head.node, by_mlp.node) == 0
    assert measure(by_head.node, by_head.node) == 1


def test_the_edge_from_the_input_to_the_logits_touches_no_head_and_no_mlp():
    edge, node = parts_with({(0, 4): 3.0})
    assert (len(edge.part), len(node.part)) == (1, 0)


def test_all_measures_come_in_the_order_of_levels_and_weightings():
    one = parts_with({(0, 2): 3.0, (1, 4): 1.0})
    other = parts_with({(0, 2): 1.0, (1, 4): 1.0, (0, 3): 1.0, (2, 4): 1.0})
    edges, nodes = overlaps(one, other).tolist()
    assert edges == [2 / 4, pytest.approx(0.5 / 1.5)]
    assert nodes == [1 / 2, pytest.approx(0.5 / 1.5)]


def test_sizes_of_comparison_are_close_together_and_the_nearest_is_taken():
    sizes = comparison_sizes(GRAPH)
    assert (sizes[0], sizes[-1]) == (1, GRAPH.n_edges)
    assert (sizes[1:] / sizes[:-1])[5:].max() < GRID_RATIO + 0.1
    for n_edges in range(1, GRAPH.n_edges + 1):
        nearest = comparison_size(GRAPH, n_edges)
        assert max(nearest / n_edges, n_edges / nearest) <= 1.25
        assert nearest in sizes


@pytest.mark.parametrize("how", Selection)
def test_an_edge_enters_at_the_size_from_which_on_pruning_leaves_it(how):
    order = random_order(GRAPH, seed=4, how=how, first=60)
    entry = _sizes_of_entry(GRAPH, order.T)
    for n_edges in range(61):
        expected = {tuple(edge) for edge in np.argwhere(cut(GRAPH, order, n_edges).mask)}
        assert {tuple(edge) for edge in order[entry <= n_edges]} == expected


@pytest.mark.parametrize("how", Selection)
def test_connected_circuits_share_more_than_random_edges(how):
    both = np.arange(11)
    anywhere = (hypergeom(GRAPH.n_edges, 10, 10).pmf(both) * both / (20 - both)).sum()
    connected = RandomCircuits(GRAPH, how=how, largest=20).expected(Level.EDGE, 10, 10)
    assert connected > 1.5 * anywhere


@pytest.mark.parametrize("level", Level)
def test_random_circuits_of_all_edges_are_the_same_and_of_none_undefined(level):
    random = RandomCircuits(GRAPH, how="greedy", largest=GRAPH.n_edges)
    assert random.expected(level, GRAPH.n_edges, GRAPH.n_edges) == 1
    assert math.isnan(random.expected(level, 0, 0))


@pytest.mark.parametrize(("how", "size"), [("greedy", 57), ("top_n", 150)])
def test_circuits_of_unrelated_models_have_no_corrected_overlap_on_average(how, size):
    """(J - E) / (1 - E) of circuits along random scores, pruned like any circuit, has mean 0."""
    graph, draw = Graph(4, 4), np.random.default_rng(3)
    random, parts = RandomCircuits(graph, how=how, largest=size), []
    for _ in range(120):
        scores = EdgeScores(graph, np.where(graph.exists, draw.random(graph.exists.shape), np.nan))
        parts.append(parts_of(cut(graph, edge_order(scores, how=how), size), scores.values))
    for level in Level:
        corrected = []
        for a, b in zip(parts[::2], parts[1::2], strict=True):
            expected = random.expected(level, len(a.edge.part), len(b.edge.part))
            overlap = jaccard(getattr(a, level), getattr(b, level))
            corrected.append((overlap - expected) / (1 - expected))
        assert abs(np.mean(corrected)) < 0.06
