import numpy as np
import pytest

from circuitlapse import EdgeScores
from circuitlapse.models.graph import Graph


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
