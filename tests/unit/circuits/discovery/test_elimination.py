"""A planted circuit with edges that it does not need, and a random model that does its task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from circuitlapse.circuits.discovery.elimination import AT_ONCE, eliminate, parts_to_drop
from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import EdgeScores, Graph, split_target
from tests.unit.circuits.discovery.test_search import SETTINGS, search  # noqa: F401

GRAPH = Graph(3, 2)
NEEDED = ("input->a0.h0<v>", "a0.h0->a2.h1<v>", "a2.h1->logits")
EITHER = (("input->m0", "m0->logits"), ("input->m1", "m1->logits"))
SCORES = np.where(GRAPH.exists, np.random.default_rng(0).normal(size=GRAPH.exists.shape), np.nan)


def has(circuit: Circuit, names) -> bool:
    return all(circuit.mask[GRAPH.edge_index(name)] for name in names)


def passes(circuits: list[Circuit]) -> np.ndarray:
    """Faithful with the planted path, and one of two others; two backups hurt if both are left."""
    return np.array(
        [has(one, NEEDED) and any(has(one, path) for path in EITHER) for one in circuits]
    )


def drop(circuit: Circuit, scores, of=passes, how: str = "greedy") -> Circuit:
    known = EdgeScores(GRAPH, np.where(GRAPH.exists, scores, np.nan))
    return eliminate(circuit, parts_to_drop(circuit, known, how=how), of)


def is_minimal(circuit: Circuit, of=passes) -> bool:
    """Whether no single edge can be dropped, tried one by one."""
    singles = []
    for edge in np.argwhere(circuit.mask):
        mask = circuit.mask.copy()
        mask[tuple(edge)] = False
        singles.append(Circuit(circuit.graph, mask).pruned())
    return not of(singles).any()


def test_a_planted_circuit_is_left_of_the_whole_model():
    assert GRAPH.n_edges > 2 * AT_ONCE
    found = drop(Circuit.full(GRAPH), SCORES)
    assert has(found, NEEDED)
    assert [has(found, path) for path in EITHER].count(True) == 1
    assert found.n_edges == len(NEEDED) + 2
    assert is_minimal(found)


def test_of_two_paths_that_do_alike_the_weaker_one_goes():
    scores = np.where(GRAPH.exists, 1.0, np.nan)
    for name in EITHER[1]:
        scores[GRAPH.edge_index(name)] = 5.0
    found = drop(Circuit.full(GRAPH), scores)
    assert has(found, EITHER[1])


@pytest.mark.parametrize("seed", range(5))
def test_no_single_edge_can_be_dropped_though_faithfulness_is_not_monotone(seed):
    """Edges add up, some negative; dropping one may let another go that was needed before."""
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=GRAPH.exists.shape)

    def enough(circuits):
        return np.array([weights[one.mask].sum() >= 3 and one.n_edges > 0 for one in circuits])

    whole = Circuit(GRAPH, GRAPH.exists & (weights > -0.5))
    assert enough([whole.pruned()])[0]
    found = drop(whole.pruned(), draw.normal(size=SCORES.shape), enough)
    assert enough([found])[0]
    assert is_minimal(found, enough)
    assert found.n_edges < whole.n_edges / 2


def test_of_a_node_circuit_whole_nodes_are_dropped():
    found = drop(Circuit.full(GRAPH), SCORES, how="nodes")
    assert has(found, NEEDED)
    assert found.n_nodes == 5  # input, two heads, one MLP and the logits
    nodes = {edge.partition("->")[0] for edge in found.edges}
    among = [
        name
        for name in Circuit.full(GRAPH).edges
        if {name.partition("->")[0], split_target(name.partition("->")[2])[0]} <= nodes | {"logits"}
    ]
    assert found.edges == tuple(among)


def test_rounding_at_the_threshold_does_not_stop_the_search():
    """A circuit at the threshold passes in one batch and fails in the next, by a last digit."""
    asked = []

    def by_a_hair(circuits):
        asked.append(len(circuits))
        return passes(circuits) & (len(asked) % 2 == 1)

    found = drop(Circuit.full(GRAPH), SCORES, by_a_hair)
    assert passes([found])[0]


def test_a_search_that_eliminates_finds_a_smaller_faithful_circuit(search):  # noqa: F811
    def of(one: Search, circuits: list[Circuit]) -> np.ndarray:
        return one.evaluate(circuits).mean(axis=1) / one.m_model.mean()

    asked = replace(search, settings=SETTINGS.model_copy(update={"eliminate": True}))
    scores = search.scores()
    before, found = search.small_circuit(scores), asked.small_circuit(scores)
    assert before.n_eliminated is None
    assert found.n_eliminated == before.circuit.n_edges - found.circuit.n_edges
    assert not (found.circuit.mask & ~before.circuit.mask).any()
    assert of(asked, [found.circuit])[0] >= SETTINGS.threshold
    np.testing.assert_allclose(found.m_circuit, asked.evaluate([found.circuit])[0], rtol=1e-5)
    assert is_minimal(found.circuit, lambda circuits: of(asked, circuits) >= SETTINGS.threshold)
    np.testing.assert_array_equal(found.order, before.order)
    assert found.n_requested == before.n_requested
