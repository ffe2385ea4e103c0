"""Six edges are known to do the task of a model made by hand; `tests.planted` explains how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from circuitlapse import Circuit, attribute_edges, evaluate_circuits, load_decoder, select_circuit
from circuitlapse.circuits.selection import circuit_sizes
from circuitlapse.exchange.transfer import FoundCircuit, random_like, transfer
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.load import model_graph
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import Ablation, IgRule, Method, Selection
from tests import dense
from tests.planted import (
    BY_TOKEN,
    COPY,
    EDGES,
    FETCH,
    LOGIT,
    PREVIOUS,
    planted_pairs,
    save_planted_model,
)

RUNS = [
    *((method, IgRule.LEFT) for method in Method),
    *((Method.EAP_IG_INPUTS, rule) for rule in (IgRule.MIDPOINT, IgRule.TRAPEZOID)),
]


@dataclass(frozen=True)
class Planted:
    model: Any
    pairs: Any
    circuit: Circuit

    def metric(self, *circuits: Circuit, ablation: str = "corrupted"):
        how = {"metric": "logit_diff", "ablation": ablation}
        return evaluate_circuits(self.model, self.pairs, circuits, **how).mean(axis=1)

    def scores(self, method: str, **how: Any):
        how = {"metric": "logit_diff", "ig_steps": 5} | how
        return attribute_edges(self.model, self.pairs, method=method, **how)


@pytest.fixture(scope="module", params=[True, False], ids=["parallel", "sequential"])
def planted(request, tmp_path_factory) -> Planted:
    folder = tmp_path_factory.mktemp("planted") / "model"
    model = load_decoder(save_planted_model(folder, parallel=request.param))
    graph = model_graph(model)
    assert graph.parallel == request.param
    return Planted(model, planted_pairs(), Circuit(graph, mask_of(graph, EDGES)))


def mask_of(graph, edges):
    mask = np.zeros_like(graph.exists)
    for edge in edges:
        mask[graph.edge_index(edge)] = True
    return mask


def without(circuit, edge):
    return Circuit(circuit.graph, circuit.mask & ~mask_of(circuit.graph, [edge]))


@pytest.mark.parametrize("ablation", [Ablation.CORRUPTED, Ablation.MEAN])
@pytest.mark.parametrize(("method", "rule"), RUNS)
def test_every_method_puts_exactly_the_planted_edges_first(planted, method, rule, ablation):
    scores = planted.scores(method, ig_rule=rule, ablation=ablation)
    assert planted_over_others(planted, scores) > 100
    for how in (Selection.GREEDY, Selection.TOP_N):
        assert set(select_circuit(scores, len(EDGES), how=how).edges) == EDGES


@pytest.mark.parametrize("method", [Method.EAP, Method.EAP_IG_INPUTS])
def test_the_planted_heads_are_the_first_nodes(planted, method):
    """With `input` and `logits`, three heads hold all six edges."""
    scores = planted.scores(method)
    size = int(circuit_sizes(scores, how=Selection.NODES)[3])
    found = select_circuit(scores, size, how=Selection.NODES)
    assert found.n_nodes == 5
    assert set(zip(*np.nonzero(found.heads), strict=True)) == {FETCH, PREVIOUS, COPY}
    assert set(found.edges) >= EDGES
    part, whole = planted.metric(found, Circuit.full(found.graph))
    assert part / whole == pytest.approx(1, abs=1e-3)


def test_so_does_measuring_what_happens_when_an_edge_carries_nothing(planted):
    """Gradients cannot: LayerNorm of an embedding does not change when it shrinks towards 0."""
    scores = planted.scores(Method.EXACT, ablation=Ablation.ZERO)
    assert planted_over_others(planted, scores) > 100


def planted_over_others(planted, scores):
    """Return how many times the smallest score of a planted edge is the largest other one."""
    size, mask = np.abs(scores.values), planted.circuit.mask
    return size[mask].min() / size[scores.graph.exists & ~mask].max()


@pytest.mark.parametrize("ablation", Ablation)
def test_the_planted_circuit_is_as_good_as_the_model(planted, ablation):
    circuit = planted.circuit
    part, whole = planted.metric(circuit, Circuit.full(circuit.graph), ablation=ablation)
    assert part / whole == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("ablation", Ablation)
def test_without_any_one_of_its_edges_the_circuit_fails(planted, ablation):
    edges = sorted(EDGES)
    rests = [without(planted.circuit, edge) for edge in edges]
    whole, *parts = planted.metric(planted.circuit, *rests, ablation=ablation)
    left = dict(zip(edges, parts / whole, strict=True))
    assert max(left.values()) < 0.25, left


def test_without_the_planted_edges_the_model_answers_as_on_the_corrupted_prompt(planted):
    graph = planted.circuit.graph
    rest = Circuit(graph, graph.exists & ~planted.circuit.mask)
    part, corrupted = planted.metric(rest, Circuit.empty(graph))
    assert part == pytest.approx(corrupted, rel=1e-3)


def test_the_model_copies_the_token_as_worked_out_by_hand(planted):
    graph, found = planted.circuit.graph, attention_found(planted.pairs)
    expected = (LOGIT * found).mean()
    clean, corrupted = planted.metric(Circuit.full(graph), Circuit.empty(graph))
    assert clean == pytest.approx(expected, rel=0.01)
    assert corrupted == pytest.approx(-expected, rel=0.01)


@pytest.mark.parametrize("method", [Method.EXACT, Method.EAP])
def test_scores_are_those_worked_out_by_hand(planted, method):
    scores = planted.scores(method)
    for edge, expected in scores_by_hand(planted.pairs, method).items():
        assert scores.values[scores.graph.edge_index(edge)] == pytest.approx(expected, rel=0.02)


def scores_by_hand(pairs, method):
    """Return the table of `tests.planted`."""
    n_tokens, found = pairs.end.numpy() + 1, attention_found(pairs)
    copies = LOGIT * found
    if method == Method.EXACT:
        astray = LOGIT * found - LOGIT / n_tokens
        both = LOGIT * found + LOGIT / n_tokens
    else:
        astray = LOGIT * BY_TOKEN * found * (1 - found)
        both = 2 * copies + astray
    by_hand = {
        "input->a0.h1<v>": astray,
        "a0.h1->a1.h2<q>": astray,
        "a0.h4->a1.h2<k>": astray,
        "a0.h4->a1.h2<v>": 2 * copies,
        "input->a0.h4<v>": both,
        "a1.h2->logits": 2 * copies,
    }
    return {edge: score.mean() for edge, score in by_hand.items()}


def attention_found(pairs):
    """Return the attention that the place found gets, per prompt."""
    others = pairs.end.numpy()
    return np.exp(BY_TOKEN) / (np.exp(BY_TOKEN) + others)


def test_all_other_nodes_differ_between_the_prompts_too(planted):
    """So the planted edges cannot be told from the others by what changes alone."""
    graph, pairs = planted.circuit.graph, planted.pairs
    runs = (
        dense.outputs_of_run(planted.model, graph, t, pairs) for t in (pairs.clean, pairs.corrupted)
    )
    clean, corrupted = (run.detach().numpy() for run in runs)
    change = np.sqrt(((corrupted - clean) ** 2).sum(axis=(2, 3))).mean(axis=1)
    size = dict(zip(graph.sources, change, strict=True))
    ours = [size.pop(f"a{layer}.h{head}") for layer, head in (FETCH, PREVIOUS, COPY)]
    del size["input"]
    assert min(size.values()) > min(ours) / 4
    assert max(size.values()) > max(ours)


def test_ties_at_zero_do_not_decide(planted):
    """Some scores must be 0: the last queries do not see the token that differs, for instance."""
    scores = planted.scores(Method.EAP)
    others = scores.values[scores.graph.exists & ~planted.circuit.mask]
    assert np.count_nonzero(others) > 0.8 * others.size


def test_where_the_planted_circuit_is_faithful_random_ones_of_its_size_are_not(planted):
    """Without this, that a circuit does well in a model would say nothing of the circuit."""
    about = {"model": "planted", "variant": "", "task": "mine", "step": 0, "method": "eap"}
    found = FoundCircuit(**about, ig_steps=1, selection="greedy", in_circuit=planted.circuit.mask)
    controls = random_like([found], planted.circuit.graph, n_draws=10, seed=0)
    rows = transfer(
        planted.model,
        planted.pairs,
        [found, *controls],
        metric="logit_diff",
        bootstrap=Bootstrap(samples=100),
        activations=cache_activations(planted.model, planted.pairs),
    )
    assert [row["control"] for row in rows] == ["own"] + ["random"] * 10
    assert rows[0]["f_norm"] == pytest.approx(1, abs=0.1)
    assert max(row["f_norm"] for row in rows[1:]) < 0.5
    assert {row["n_edges"] - len(EDGES) for row in rows[1:]} <= {0, 1, 2, 3, 4, 5}
