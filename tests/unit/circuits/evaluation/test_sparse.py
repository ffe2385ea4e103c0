import numpy as np
import pytest

from circuitlapse.circuits.evaluation.sparse import AT_END, EVERYWHERE, NOT, make_plan, where_needed
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import Graph

GRAPH = Graph(2, 1)


def circuit_of(*edges):
    mask = np.zeros_like(GRAPH.exists)
    for edge in edges:
        mask[GRAPH.edge_index(edge)] = True
    return Circuit(GRAPH, mask)


def plan_of(*circuits, is_a_run=True):
    return make_plan(GRAPH, circuits, ablated_is_a_run=is_a_run)


def n_nodes(plan):
    return [
        len(stage.nodes) for stages in zip(plan.heads, plan.mlps, strict=True) for stage in stages
    ]


@pytest.mark.parametrize(
    ("edges", "source", "expected"),
    [
        (["m0->logits"], "m0", AT_END),
        (["m0->a1.h0<q>", "a1.h0->logits"], "m0", AT_END),
        (["m0->a1.h0<k>", "a1.h0->logits"], "m0", EVERYWHERE),
        (["m0->a1.h0<v>", "a1.h0->logits", "m0->logits"], "m0", EVERYWHERE),
        (["m0->a1.h0<v>"], "m0", NOT),
        (["m0->m1", "m1->logits"], "m0", AT_END),
    ],
)
def test_an_output_is_needed_where_it_is_read(edges, source, expected):
    assert where_needed(circuit_of(*edges))[GRAPH.sources.index(source)] == expected


def test_only_nodes_between_the_input_and_the_logits_are_computed():
    loose = ["a0.h0->logits", "input->m0", "input->a1.h0<v>", "a1.h0->logits"]
    assert n_nodes(plan_of(circuit_of(*loose))) == [0, 0, 1, 0]


def test_a_node_without_inputs_differs_from_its_ablated_self_unless_that_is_a_run():
    circuit = circuit_of("a0.h0->logits")
    assert n_nodes(plan_of(circuit, is_a_run=True)) == [0, 0, 0, 0]
    assert n_nodes(plan_of(circuit, is_a_run=False)) == [1, 0, 0, 0]


def test_circuits_share_a_node_that_receives_the_same():
    small = ["input->m0", "m0->m1", "m1->logits"]
    large = [*small, "m0->logits"]
    other = [*small, "input->m1"]
    plan = plan_of(*(circuit_of(*edges) for edges in (small, large, other)))
    assert n_nodes(plan) == [0, 1, 0, 2]
    m0, m1, other_m1 = 1, 2, 3
    assert plan.logits == [(m1,), (m0, m1), (other_m1,)]


def test_a_node_needed_at_the_end_alone_takes_no_room_elsewhere():
    plan = plan_of(circuit_of("input->m0", "m0->logits"))
    assert plan.slots == [0, -1]
    assert plan.n_everywhere == 1
    (node,) = plan.mlps[0].nodes
    assert node.end_only
    assert plan.mlps[0].inputs.everywhere == {}
