from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from circuitlapse.tables.stability import jaccard, parts_of, smoothed, weighted_jaccard
from tests.unit.circuits.test_record import make_record


def shares(**parts: float) -> pd.Series:
    return pd.Series(parts, dtype="float64")


A = shares(x=0.5, y=0.3, z=0.2)
B = shares(w=0.4, y=0.1, z=0.5)
NOTHING = shares()


@pytest.mark.parametrize("measure", [jaccard, weighted_jaccard])
def test_a_circuit_has_all_in_common_with_itself_and_nothing_with_a_disjoint_one(measure):
    assert measure(A, A) == 1
    assert measure(A, A[["z", "x", "y"]]) == 1
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
    record = make_record(scores=np.zeros((3, 5)))
    edge = parts_of(record, record.in_circuit, record.scores).edge
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
        a, b = pd.Series(one), pd.Series(other)
        assert jaccard(a, b) == len(one.keys() & other.keys()) / len(either)
        assert weighted_jaccard(a, b) == pytest.approx(smaller / larger)


def parts_with(edges: dict[tuple[int, int], float]):
    in_circuit = np.zeros((3, 5), dtype=bool)
    scores = np.full((3, 5), 9.0)
    for place, score in edges.items():
        in_circuit[place], scores[place] = True, score
    record = make_record(in_circuit=in_circuit, scores=scores)
    return record, parts_of(record, in_circuit, scores)


def test_parts_are_the_edges_and_the_heads_and_mlps_they_touch():
    """Edges input->a0.h0<q> (-1), input->a0.h0<v> (3), a0.h0->logits (4), m0->logits (2)."""
    record, (edge, node) = parts_with({(0, 0): -1.0, (0, 2): 3.0, (1, 4): 4.0, (2, 4): 2.0})
    assert edge.to_dict() == {0: 1 / 10, 2: 3 / 10, 9: 4 / 10, 14: 2 / 10}
    assert node.to_dict() == {"a0.h0": 8 / 10, "m0": 2 / 10}
    assert (len(edge), len(node)) == (record.n_edges, record.n_nodes - 2)


@pytest.mark.parametrize("measure", [jaccard, weighted_jaccard])
def test_circuits_through_different_heads_and_mlps_have_no_node_in_common(measure):
    """Both go from the input to the logits, as every circuit does."""
    _, by_head = parts_with({(0, 2): 3.0, (1, 4): 4.0})
    _, by_mlp = parts_with({(0, 3): 1.0, (2, 4): 4.0})
    assert measure(by_head.node, by_mlp.node) == 0
    assert measure(by_head.node, by_head.node) == 1


def test_the_edge_from_the_input_to_the_logits_touches_no_head_and_no_mlp():
    _, (edge, node) = parts_with({(0, 4): 3.0})
    assert (len(edge), len(node)) == (1, 0)


def test_smoothing_is_the_mean_of_the_newest_and_all_before():
    means = smoothed(pd.Series([0.8, 0.4, 0.6, 0.2]), alpha=0.5)
    assert means.tolist() == pytest.approx([0.8, 0.6, 0.6, 0.4])
    means = smoothed(pd.Series([0.8, 0.4]), alpha=0.25)
    assert means.tolist() == pytest.approx([0.8, 0.25 * 0.4 + 0.75 * 0.8])


@pytest.mark.parametrize(("alpha", "means"), [(0.5, [0.8, 0.5, 0.45]), (0.25, [0.8, 0.65, 0.5875])])
def test_a_gap_stays_a_gap_and_is_passed_over(alpha, means):
    gap = float("nan")
    found = smoothed(pd.Series([gap, 0.8, gap, gap, 0.2, 0.4, gap]), alpha=alpha)
    assert found.isna().tolist() == [True, False, True, True, False, False, True]
    assert found.dropna().tolist() == pytest.approx(means)
