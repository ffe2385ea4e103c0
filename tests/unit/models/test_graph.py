import numpy as np
import pytest

from circuitlapse import EdgeScores
from circuitlapse.models.graph import Graph, split_target

PYTHIA = {
    "70m": (6, 8, 56, 3_580, 3_628),
    "160m": (12, 12, 158, 32_347, 32_491),
    "410m": (24, 16, 410, 231_493, 231_877),
    "2.8b": (32, 32, 1058, 1_591_857, 1_592_881),
}


@pytest.mark.parametrize(("layers", "heads", "nodes", "parallel", "sequential"), PYTHIA.values())
def test_pythia_graphs_have_the_published_number_of_nodes_and_edges(
    layers, heads, nodes, parallel, sequential
):
    graph = Graph(layers, heads)
    assert (graph.n_nodes, graph.n_edges) == (nodes, parallel)
    assert Graph(layers, heads, parallel=False).n_edges == sequential


def test_rows_columns_and_edges_are_those_of_the_reference(oracle):
    graph = Graph(oracle.fixture["layers"], oracle.fixture["heads"])
    assert list(graph.sources) == oracle.fixture["sources"]
    assert list(graph.targets) == oracle.fixture["targets"]
    assert (graph.exists == oracle.answers["edge_exists"]).all()


def test_attention_feeds_the_mlp_of_its_layer_only_in_a_sequential_model():
    with pytest.raises(ValueError, match="not an edge"):
        Graph(2, 2).edge_index("a0.h1->m0")
    assert Graph(2, 2, parallel=False).edge_index("a0.h1->m0") == (2, 6)


def test_every_edge_name_leads_back_to_its_row_and_column():
    graph = Graph(3, 2)
    for source, target in zip(*graph.exists.nonzero(), strict=True):
        assert graph.edge_index(graph.edge_name(source, target)) == (source, target)


@pytest.mark.parametrize("name", ["", "input", "input->", "m1->m0", "a9.h0->logits", "x->y"])
def test_what_is_no_edge_is_refused_with_an_example(name):
    with pytest.raises(ValueError, match=r"expected SOURCE->TARGET such as 'input->a0\.h0<q>'"):
        Graph(2, 2).edge_index(name)


def test_slices_name_the_nodes_they_say():
    graph = Graph(2, 3)
    assert graph.sources[graph.head_sources(1)] == ("a1.h0", "a1.h1", "a1.h2")
    assert [graph.sources[row] for row in graph.head_rows[1]] == ["a1.h0", "a1.h1", "a1.h2"]
    assert graph.sources[graph.mlp_source(1)] == "m1"
    assert graph.targets[graph.port_targets(1, "k")] == ("a1.h0<k>", "a1.h1<k>", "a1.h2<k>")
    assert graph.targets[graph.mlp_target(0)] == "m0"


def test_a_target_splits_into_node_and_port():
    assert split_target("a1.h12<k>") == ("a1.h12", "k")
    assert split_target("m3") == ("m3", "")
    with pytest.raises(ValueError, match="'b1' is not the name of an input"):
        split_target("b1")


def test_an_edge_without_a_score_is_named():
    graph = Graph(1, 1)
    values = np.where(graph.exists, 1.0, np.nan)
    values[graph.edge_index("m0->logits")] = np.nan
    with pytest.raises(ValueError, match="score of m0->logits must be a number, found nan"):
        EdgeScores(graph, values)


def test_a_score_where_no_edge_exists_is_named():
    graph = Graph(1, 1)
    with pytest.raises(ValueError, match=r"a0.h0->a0.h0<q> must be NaN, found 0.0"):
        EdgeScores(graph, np.zeros(graph.exists.shape))


def test_it_is_shown_in_one_line_with_the_largest_score():
    graph = Graph(1, 1)
    values = np.where(graph.exists, 0.1, np.nan)
    values[graph.edge_index("a0.h0->logits")] = -0.3125
    shown = "EdgeScores(7 edges, largest |score| 0.312 for a0.h0->logits)"
    assert repr(EdgeScores(graph, values)) == shown
