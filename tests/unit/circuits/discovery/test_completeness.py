"""A circuit without the backup of its own nodes is as faithful, and incomplete."""

import numpy as np
import pytest

from circuitlapse import Circuit
from circuitlapse.circuits.discovery.completeness import (
    Removals,
    incompleteness,
    removal_circuits,
)
from circuitlapse.models.graph import Graph
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import N_SUBSETS

GRAPH = Graph(n_layers=3, n_heads=4)
BOOTSTRAP = Bootstrap(samples=200)
ROUTES = {head: (f"input->{head}<v>", f"{head}->logits") for head in ("a0.h0", "a1.h0", "a2.h3")}
BACKUP = ("input->a1.h2<v>", "a1.h2->logits")
"""Does what `a1.h0` does once that is gone."""


def of(names):
    mask = np.zeros_like(GRAPH.exists)
    for name in names:
        mask[GRAPH.edge_index(name)] = True
    return Circuit(GRAPH, mask)


def metric(circuit):
    """Return 1 per route, and 1 for the backup if the route through `a1.h0` is broken."""
    there = {head: has(circuit, route) for head, route in ROUTES.items()}
    return sum(there.values()) + (not there["a1.h0"] and has(circuit, BACKUP))


def has(circuit, edges):
    return all(circuit.mask[GRAPH.edge_index(edge)] for edge in edges)


def measured(circuit, *, seed=0, noise=0.0):
    """Return what `incompleteness` says: both halves have this circuit, and 20 prompts each."""
    draw, second = np.random.default_rng(seed), np.arange(40) >= 20
    values = np.zeros((2 * N_SUBSETS, 40))
    for half in (0, 1):
        runs = [metric(one) for one in removal_circuits(circuit, seed=(seed, half))]
        values[:, second == half] = np.array(runs)[:, None]
    values += noise * draw.normal(size=values.shape)
    removals = Removals(values[:N_SUBSETS], values[N_SUBSETS:], second)
    model, corrupted = np.full(40, 3.0), np.zeros(40)
    return incompleteness(removals, model, corrupted, bootstrap=BOOTSTRAP, groups=None)


def test_the_same_nodes_are_taken_from_both_with_all_their_edges():
    circuit = of([edge for route in ROUTES.values() for edge in route])
    everything, taken = set(Circuit.full(GRAPH).edges), set()

    def without(edges, gone):
        return {edge for edge in edges if not any(node in edge for node in gone)}

    for seed in range(5):
        circuits = removal_circuits(circuit, seed=seed)
        for one, rest in zip(circuits[:N_SUBSETS], circuits[N_SUBSETS:], strict=True):
            gone = {node for node in ROUTES if f"{node}->logits" not in rest.edges}
            assert set(one.edges) == without(circuit.edges, gone)
            assert set(rest.edges) == without(everything, gone)
            taken |= gone
    assert taken == set(ROUTES)


def test_a_circuit_with_its_backup_is_complete_and_one_without_is_not():
    routes = [edge for route in ROUTES.values() for edge in route]
    assert metric(of(routes)) == metric(of([*routes, *BACKUP])) == 3  # equally faithful
    whole = [measured(of([*routes, *BACKUP]), seed=seed)[0] for seed in range(30)]
    assert whole == [0] * 30
    lacking = [measured(of(routes), seed=seed)[0] for seed in range(30)]
    # The route is taken in half of the subsets; then the model keeps a third more.
    assert np.mean(lacking) == pytest.approx(1 / 6, abs=0.04)


def test_the_interval_is_over_prompts_and_an_empty_circuit_is_the_control():
    circuit = of([edge for route in ROUTES.values() for edge in route])
    value, (low, high), empty = measured(circuit, seed=3, noise=0.3)
    assert low < value < high
    assert 0.3 < empty < 1
    assert value < low + 0.2
