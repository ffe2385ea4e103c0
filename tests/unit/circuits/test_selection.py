import jaxtyping
import numpy as np
import pytest
import torch

from circuitlapse import (
    Circuit,
    EdgeScores,
    attribute_edges,
    evaluate_circuits,
    load_decoder,
    select_by_threshold,
    select_circuit,
)
from circuitlapse.circuits.selection import (
    circuit_of,
    circuit_sizes,
    cut,
    edge_order,
    node_scores,
)
from circuitlapse.errors import ArtifactError, UnknownNameError
from circuitlapse.models.activations import PairActivations, RunActivations, cache_activations
from circuitlapse.models.graph import Graph, split_target
from circuitlapse.models.load import model_graph
from circuitlapse.types import Selection
from tests.records import record_of

GRAPH = Graph(2, 1)


def scores_of(**named):
    """Scores of the graph with one head per layer; edges that are not named score 0."""
    values = np.where(GRAPH.exists, 0.0, np.nan)
    for name, value in named.items():
        values[GRAPH.edge_index(name)] = value
    return EdgeScores(GRAPH, values)


STRONG_BUT_FAR = {"m1->logits": -1.0, "a0.h0->m1": 5.0, "input->a0.h0<v>": 9.0}


def test_greedy_grows_from_the_logits_and_top_n_does_not():
    scores = scores_of(**STRONG_BUT_FAR)
    assert select_circuit(scores, 1).edges == ()
    assert select_circuit(scores, 1, prune=False).edges == ("m1->logits",)
    assert select_circuit(scores, 1, "top_n", prune=False).edges == ("input->a0.h0<v>",)
    chain = {"input->a0.h0<v>", "a0.h0->m1", "m1->logits"}
    assert set(select_circuit(scores, 3).edges) == chain


def test_all_ports_of_a_head_become_candidates_together():
    scores = scores_of(**{"a1.h0->logits": 3, "input->a1.h0<q>": 1, "m0->a1.h0<v>": 2})
    order = [GRAPH.edge_name(*edge) for edge in edge_order(scores)]
    assert order[:3] == ["a1.h0->logits", "m0->a1.h0<v>", "input->a1.h0<q>"]


def test_ties_go_to_the_smaller_source_then_target():
    order = edge_order(scores_of(), how="top_n").tolist()
    assert order == sorted(order)
    assert [GRAPH.edge_name(*edge) for edge in edge_order(scores_of())[:1]] == ["input->logits"]


@pytest.mark.parametrize("how", Selection)
def test_circuits_are_nested_and_every_edge_comes_once(how):
    values = np.where(
        GRAPH.exists, np.random.default_rng(0).normal(size=GRAPH.exists.shape), np.nan
    )
    order = edge_order(EdgeScores(GRAPH, values), how=how)
    assert len({tuple(edge) for edge in order.tolist()}) == GRAPH.n_edges


def greedy_by_hand(graph, weight):
    """Look at every edge again for every edge taken."""
    inside, left, order = {len(graph.sources)}, np.argwhere(graph.exists).tolist(), []
    while left:
        open_edges = [edge for edge in left if graph.target_nodes[edge[1]] in inside]
        best = min(open_edges, key=lambda edge: (-weight[tuple(edge)], *edge))
        left.remove(best)
        order.append(best)
        inside.add(best[0])
    return order


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("graph", [Graph(3, 2), Graph(2, 3, parallel=False)])
def test_greedy_takes_the_best_open_edge_again_and_again_whatever_the_ties(graph, seed):
    values = np.random.default_rng(seed).integers(-3, 4, graph.exists.shape).astype(float)
    scores = EdgeScores(graph, np.where(graph.exists, values, np.nan))
    for signed in (False, True):
        weight = values if signed else np.abs(values)
        assert edge_order(scores, signed=signed).tolist() == greedy_by_hand(graph, weight)


def test_pruning_removes_what_nothing_reaches_and_what_reaches_nothing():
    mask = np.zeros_like(GRAPH.exists)
    for name in ("input->m0", "m0->logits", "a0.h0->a1.h0<q>", "a1.h0->logits", "input->m1"):
        mask[GRAPH.edge_index(name)] = True
    circuit = Circuit(GRAPH, mask).pruned()
    assert set(circuit.edges) == {"input->m0", "m0->logits"}
    assert circuit.n_nodes == 3


def test_the_full_circuit_has_all_edges_and_nodes():
    assert Circuit.full(GRAPH).n_edges == GRAPH.n_edges
    assert Circuit.full(GRAPH).n_nodes == GRAPH.n_nodes
    assert Circuit.full(GRAPH).pruned().n_edges == GRAPH.n_edges


def test_circuits_are_exactly_those_of_the_reference(oracle):
    graph = Graph(2, 4)
    scores = EdgeScores(graph, np.where(graph.exists, oracle.answers["eap_ig_inputs"], np.nan))
    for how, name in (("greedy", "greedy"), ("top_n", "topn")):
        for size in oracle.fixture["sizes"]:
            expected = oracle.answers[f"{name}_{size}_edges"]
            assert (select_circuit(scores, size, how).mask == expected).all(), (how, size)


def test_a_size_beyond_the_graph_and_an_unknown_way_are_refused():
    with pytest.raises(ValueError, match=f"must lie in 0..{GRAPH.n_edges}, found 99"):
        select_circuit(scores_of(), 99)
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        select_circuit(scores_of(), 1, "greddy")


def test_a_mask_with_an_edge_that_does_not_exist_is_refused():
    mask = GRAPH.exists.copy()
    mask[GRAPH.sources.index("m1"), 0] = True
    with pytest.raises(ValueError, match=r"m1->a0.h0<q> is not an edge"):
        Circuit(GRAPH, mask)


def test_a_signed_order_puts_edges_that_hurt_last():
    scores = scores_of(**{"m1->logits": -1.0, "a0.h0->m1": 0.5})
    names = [GRAPH.edge_name(*edge) for edge in edge_order(scores, how="top_n", signed=True)]
    assert (names[0], names[-1]) == ("a0.h0->m1", "m1->logits")
    last = GRAPH.edge_name(*edge_order(scores, how="greedy", signed=True)[0])
    assert last.endswith("->logits")
    assert last != "m1->logits"


def test_a_threshold_keeps_every_edge_at_or_above_it_and_prunes_the_rest():
    scores = scores_of(**STRONG_BUT_FAR)
    assert set(select_by_threshold(scores, 1.0).edges) == set(STRONG_BUT_FAR)
    assert select_by_threshold(scores, 5.0).edges == ()
    assert select_by_threshold(scores, 5.0, prune=False).n_edges == 2
    assert select_by_threshold(scores, 0.0).n_edges == GRAPH.n_edges
    with pytest.raises(ValueError, match=r"threshold must be at least 0, found -1\.0"):
        select_by_threshold(scores, -1.0)


def test_a_circuit_is_shown_in_one_line():
    assert (
        repr(select_circuit(scores_of(**STRONG_BUT_FAR), 3))
        == f"Circuit(3 of {GRAPH.n_edges} edges)"
    )


@pytest.mark.parametrize("n_edges", [2.0, "3", None, True])
def test_a_size_that_is_not_a_whole_number_is_refused(n_edges, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=f"n_edges must be a whole number, found {n_edges!r}"):
        select_circuit(scores_of(), n_edges)


def test_a_size_may_be_a_number_of_numpy(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert select_circuit(scores_of(), np.int64(GRAPH.n_edges)).n_edges == GRAPH.n_edges


EDGES = ("input->a0.h1<v>", "a0.h1->a1.h0<q>", "m0->a1.h0<k>", "a1.h0->logits")


def test_the_heads_of_a_circuit_are_those_that_its_edges_touch():
    circuit = circuit_of(record_of(Graph(3, 2), EDGES))
    assert np.argwhere(circuit.heads).tolist() == [[0, 1], [1, 0]]


def test_heads_into_some_inputs_are_those_with_an_edge_there():
    graph = Graph(3, 2)
    circuit = circuit_of(record_of(graph, (*EDGES, "a0.h0->m2")))
    queries = [graph.port_targets(1, "q").start, graph.mlp_target(2)]
    assert np.argwhere(circuit.heads_into(queries)).tolist() == [[0, 0], [0, 1]]
    assert not circuit.heads_into([]).any()


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (2, 11)])
def test_the_circuit_of_a_record_is_the_one_that_was_recorded(shape, parallel):
    graph = Graph(*shape, parallel=parallel)
    edge = graph.edge_name(*np.argwhere(graph.exists)[-2])
    circuit = circuit_of(record_of(graph, (edge,)))
    assert (circuit.graph, circuit.edges) == (graph, (edge,))


def test_a_record_without_a_circuit_has_none():
    assert circuit_of(record_of(GRAPH)) is None


def test_a_record_of_an_unknown_graph_is_refused():
    scores = np.where(GRAPH.exists, 0.5, np.nan)
    scores[0, -1] = np.nan
    record = record_of(GRAPH, ("m1->logits",), scores=scores)
    with pytest.raises(ArtifactError, match=r"circuit of small at step 8 .* 2 layers of 1 heads"):
        circuit_of(record)


@pytest.mark.parametrize("how", Selection)
def test_the_first_edges_alone_are_those_of_the_whole_order(how):
    values = np.random.default_rng(0).normal(size=GRAPH.exists.shape)
    scores = EdgeScores(GRAPH, np.where(GRAPH.exists, values, np.nan))
    whole = edge_order(scores, how=how)
    np.testing.assert_array_equal(edge_order(scores, how=how, first=5), whole[:5])
    assert len(edge_order(scores, how=how, first=1000)) == GRAPH.n_edges


def nodes_of(circuit):
    return set().union(*(ends_of(name) for name in circuit.edges))


def test_a_node_circuit_has_all_edges_among_the_nodes_with_the_largest_scores():
    scores = random_scores()
    order, graph = edge_order(scores, how="nodes"), scores.graph
    sizes = circuit_sizes(scores, how="nodes")
    assert len(sizes) == len(graph.sources)
    assert sizes[[0, -1]].tolist() == [1, graph.n_edges]
    by_score = [graph.sources[row] for row in 1 + np.argsort(-np.abs(node_scores(scores)[1:]))]
    for n_nodes, size in enumerate(sizes.tolist()):
        circuit, nodes = cut(graph, order, size), {"input", "logits", *by_score[:n_nodes]}
        assert nodes_of(circuit) == nodes
        every = [edge for edge in Circuit.full(graph).edges if ends_of(edge) <= nodes]
        assert circuit.edges == tuple(every)


def ends_of(edge):
    source, _, target = edge.partition("->")
    return {source, split_target(target)[0]}


def test_between_two_node_circuits_the_strongest_edges_of_the_next_node_join():
    scores = random_scores()
    order, (first, second, *_) = (f(scores, how="nodes") for f in (edge_order, circuit_sizes))
    strength = np.abs(scores.values[tuple(order[first:second].T)])
    assert (np.diff(strength) <= 0).all()
    assert sorted(map(tuple, order)) == sorted(map(tuple, np.argwhere(scores.graph.exists)))


def random_scores():
    graph = Graph(2, 2)
    values = np.random.default_rng(3).normal(size=graph.exists.shape)
    return EdgeScores(graph, np.where(graph.exists, values, np.nan))


def test_the_score_of_a_node_is_what_patching_it_does_to_first_order(random_folder, random_pairs):
    """Corrupted by a thousandth of the change, a node has its whole output ablated.

    Not so the input: what it leads to is taken as that of the corrupted run.
    """
    model = load_decoder(random_folder, dtype="float64")
    runs = cache_activations(model, random_pairs)
    parts = {
        name: torch.lerp(getattr(runs.clean, name), corrupted, 1e-3)
        for name, corrupted in vars(runs.corrupted).items()
    }
    near = PairActivations(runs.clean, RunActivations(**parts))
    how = {"metric": "logit_diff", "activations": near}
    graph = model_graph(model)
    ablated = []
    for row in range(1, len(graph.sources)):
        mask = graph.exists.copy()
        mask[row] = False
        ablated.append(Circuit(graph, mask))
    whole, *parts = evaluate_circuits(model, random_pairs, [Circuit.full(graph), *ablated], **how)
    expected = np.array([(whole - part).mean() for part in parts])
    found = node_scores(attribute_edges(model, random_pairs, method="eap", **how))[1:]
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.01 * np.abs(expected).max())
