from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitlapse import Circuit, PromptPairs, load_decoder
from circuitlapse.circuits.discovery import discover_circuit, record_of
from circuitlapse.circuits.rankings import random_order
from circuitlapse.circuits.selection import cut
from circuitlapse.errors import ArtifactError
from circuitlapse.exchange.transfer import (
    FoundCircuit,
    random_like,
    refuse_other_models,
    transfer,
)
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import model_graph
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.types import TransferControl
from tests.conftest import bridge_of

BOOTSTRAP = Bootstrap(samples=100, level=0.95, seed=0)
SETTINGS = Circuits(
    method="eap", ig_steps=1, grid_ratio=2.0, refine_points=1, random_circuits=1, noise_floor=False
)
WHERE = {"model": "tiny", "variant": "seed1", "step": 8, "tokens": 80}


@pytest.fixture(scope="module")
def model(random_folder):
    return load_decoder(random_folder, dtype="float64")


@pytest.fixture(scope="module")
def pairs(model, random_pairs):
    """Right is what the model says on the clean prompt, wrong what it says on the corrupted one."""
    runs = cache_activations(model, random_pairs)
    change = runs.clean.logits_end - runs.corrupted.logits_end
    right = runs.clean.logits_end.argmax(1)
    wrong = change.scatter(1, right[:, None], torch.inf).argmin(1)
    sides = ([[int(token)] for token in side] for side in (right, wrong))
    return PromptPairs(random_pairs.clean, random_pairs.corrupted, random_pairs.end, *sides)


@pytest.fixture(scope="module")
def runs(model, pairs):
    return cache_activations(model, pairs)


@pytest.fixture(scope="module")
def record(model, pairs, runs):
    how = {"metric": "logit_diff", "settings": SETTINGS, "bootstrap": BOOTSTRAP}
    found = discover_circuit(model, pairs, activations=runs, **how)
    return record_of(found, task="ioi", **how, **WHERE)


def found_circuit(mask, **changes):
    values = {"model": "tiny", "variant": "seed1", "task": "ioi", "step": 8}
    values |= {"method": "eap", "ig_steps": 1, "selection": "greedy", "in_circuit": mask}
    return FoundCircuit(**(values | changes))


def ends(model):
    graph = model_graph(model)
    return [found_circuit(end.mask) for end in (Circuit.full(graph), Circuit.empty(graph))]


def moved(model, pairs, runs, *found):
    how = {"metric": "logit_diff", "bootstrap": BOOTSTRAP, "activations": runs}
    return transfer(model, pairs, found, **how)


def test_at_home_a_circuit_measures_what_the_search_measured(model, pairs, runs, record):
    summary = circuit_tables([record], models=["tiny"], tasks=["ioi"]).circuit_summary.iloc[0]
    others = [
        found_circuit(each(model_graph(model)).mask) for each in (Circuit.full, Circuit.empty)
    ]
    rows = moved(model, pairs, runs, others[0], FoundCircuit.from_record(record), others[1])
    assert 0 < record.n_edges < model_graph(model).n_edges
    assert summary.status in ("ok", "overshoot", "not_reached")
    for name in ("m_model", "m_corrupted", "m_circuit", "f_raw", "f_norm"):
        assert rows[1][name] == pytest.approx(summary[name], rel=1e-9), name
    assert (rows[1]["n_edges"], rows[1]["n"], rows[1]["status"]) == (record.n_edges, 9, "ok")
    assert (rows[1]["circuit_task"], rows[1]["circuit_step"]) == ("ioi", 8)


def test_the_whole_model_transfers_fully_and_no_edges_not_at_all(model, pairs, runs):
    full, empty = moved(model, pairs, runs, *ends(model))
    assert full["f_raw"] == pytest.approx(1, rel=1e-7)
    assert full["f_norm"] == pytest.approx(1, rel=1e-7)
    assert empty["m_circuit"] == pytest.approx(empty["m_corrupted"], rel=1e-7)
    assert empty["f_norm"] == pytest.approx(0, abs=1e-7)
    assert empty["n_edges"] == 0


def test_a_bridge_measures_what_its_decoder_measures(model, pairs, runs):
    expected = moved(model, pairs, runs, *ends(model))
    found = moved(bridge_of(model), pairs, runs, *ends(model))
    for row, other in zip(found, expected, strict=True):
        assert row["m_circuit"] == pytest.approx(other["m_circuit"], rel=1e-9)


def test_where_no_circuit_was_found_there_is_nothing_to_run(model, pairs, runs, record):
    nothing = replace(record, status="no_behaviour", n_requested=None, m_circuit=None)
    nowhere, here = moved(
        model, pairs, runs, FoundCircuit.from_record(nothing), FoundCircuit.from_record(record)
    )
    assert (nowhere["status"], nowhere["n_edges"]) == ("no_circuit", None)
    assert np.isnan([nowhere[name] for name in ("m_circuit", "f_raw", "f_norm")]).all()
    assert nowhere["m_model"] == here["m_model"]
    assert here["status"] == "ok"


def test_a_model_that_does_the_opposite_is_measured_but_has_no_faithfulness(
    model, pairs, runs, record
):
    opposite = replace(pairs, correct=pairs.wrong, wrong=pairs.correct)
    found = FoundCircuit.from_record(record)
    (row,) = moved(model, opposite, runs, found)
    (usual,) = moved(model, pairs, runs, found)
    assert row["status"] == "no_behaviour"
    assert np.isnan([row["f_raw"], row["f_norm"]]).all()
    for name in ("m_model", "m_corrupted", "m_circuit"):
        assert row[name] == pytest.approx(-usual[name])
    (nowhere,) = moved(model, opposite, runs, replace(found, in_circuit=None))
    assert nowhere["status"] == "no_circuit"


def test_without_any_circuit_there_is_no_row(model, pairs, runs):
    assert moved(model, pairs, runs) == []


def test_a_circuit_of_a_larger_model_is_refused(model, pairs, runs):
    larger = found_circuit(Circuit.full(Graph(4, 2)).mask)
    with pytest.raises(ValueError, match="mask is"):
        moved(model, pairs, runs, larger)


def test_circuits_of_another_model_or_variant_are_refused():
    own = found_circuit(None)
    refuse_other_models([own], model="tiny", variant="seed1")
    for other in (replace(own, model="large"), replace(own, variant="seed2")):
        message = (
            rf"circuit for ioi at step 8: found one of {other.model} \({other.variant}\), "
            r"expected one of tiny \(seed1\)"
        )
        with pytest.raises(ArtifactError, match=message):
            refuse_other_models([own, other], model="tiny", variant="seed1")


def test_random_circuits_have_the_size_of_what_they_are_compared_with():
    graph = Graph(3, 2)
    order = random_order(graph, seed=99)
    found = [found_circuit(cut(graph, order, n).mask, step=n) for n in (0, 9, 30, graph.n_edges)]
    found.append(found_circuit(None, step=1000))
    random = list(random_like(found, graph, n_draws=2, seed=5))
    assert [(one.step, one.draw) for one in random] == [
        (one.step, draw) for draw in (0, 1) for one in found[:-1]
    ]
    sizes = {one.step: one.n_edges for one in found}
    for one in random:
        assert one.control == TransferControl.RANDOM
        larger = Circuit(graph, one.in_circuit).n_edges - sizes[one.step]
        assert 0 <= larger <= 5  # an edge can bring a chain of others with it
    first, second = ([one for one in random if one.draw == draw] for draw in (0, 1))
    assert not np.array_equal(first[1].in_circuit, second[1].in_circuit)
    again = list(random_like(found, graph, n_draws=2, seed=5))
    for one, other in zip(random, again, strict=True):
        np.testing.assert_array_equal(one.in_circuit, other.in_circuit)


def test_beside_node_circuits_random_ones_take_random_nodes():
    """They hold all edges among their nodes, but for some of the last node."""
    graph = Graph(3, 2)
    found = found_circuit(Circuit.full(graph).mask)
    found.in_circuit[:] &= np.random.default_rng(0).random(graph.exists.shape) < 0.2

    def of_nodes(selection):
        own = replace(found, selection=selection)
        return [is_of_nodes(one) for one in random_like([own], graph, n_draws=20, seed=5)]

    def is_of_nodes(circuit):
        mask = circuit.in_circuit
        touched = np.append(mask.any(axis=1), True)  # sources, then logits
        among = touched[:-1, None] & touched[graph.target_nodes]
        sources, targets = np.nonzero(graph.exists & among & ~mask)
        ends = np.stack([sources, graph.target_nodes[targets]])  # [2, edge]
        return any((ends == node).any(axis=0).all() for node in range(graph.n_nodes))

    assert all(of_nodes("nodes"))
    assert not any(of_nodes("greedy"))
    assert not any(of_nodes("top_n"))


def test_controls_have_no_controls_of_their_own():
    mask = Circuit.full(Graph(3, 2)).mask
    seed = found_circuit(mask, model="other", control=TransferControl.SEED)
    assert list(random_like([seed], Graph(3, 2), n_draws=2, seed=0)) == []
    refuse_other_models([seed], model="tiny", variant="seed1")


@pytest.mark.parametrize(
    ("control", "runs"),
    [
        ("own", {("ioi", 8), ("ioi", 9), ("sva", 8)}),
        ("random", {("ioi", 8), ("ioi", 9)}),
        ("seed", {("ioi", 8)}),
    ],
)
def test_a_control_runs_where_it_says_something(control, runs):
    """A circuit of ioi at step 8, in models of two steps, on two tasks."""
    found = found_circuit(None, control=TransferControl(control))
    places = [(task, step) for task in ("ioi", "sva") for step in (8, 9)]
    assert {place for place in places if found.runs_on(place[0], step=place[1])} == runs
