from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from circuitlapse.figures.circuit_diagram import (
    PORT_COLOURS,
    ROLE_COLOURS,
    circuit_diagram,
    place_nodes,
    why_no_edge,
)

EDGES = pd.DataFrame(
    [
        ("input", "a0.h1", "v", 0.1),
        ("a0.h1", "a2.h0", "q", -0.4),
        ("a0.h1", "a2.h0", "k", 0.2),
        ("input", "m2", "", 0.1),
        ("a2.h0", "logits", "", 0.8),
        ("m2", "logits", "", 0.3),
    ],
    columns=["source", "target", "port", "score"],
)
ROLES = pd.DataFrame(
    [("CS", 2, 0, -0.1), ("NM", 2, 0, -0.5), ("NM", 3, 1, -0.9)],
    columns=["role", "layer", "head", "effect"],
)


def draw(edges=EDGES, roles=ROLES):
    return circuit_diagram(edges, roles=roles, title="A circuit", why_empty="no circuit")


@pytest.fixture(scope="module")
def axes():
    return draw().axes[0]


def test_every_node_of_the_circuit_is_named_and_no_other(axes):
    names = [text.get_text() for text in axes.texts]
    assert sorted(names) == ["0.1", "2.0", "input", "logits", "m2"]


def test_a_head_has_the_colour_of_its_strongest_role(axes):
    faces = {text.get_text(): to_hex(text.get_bbox_patch().get_facecolor()) for text in axes.texts}
    assert faces["2.0"] == ROLE_COLOURS["NM"].lower()
    assert faces["0.1"] == "#ffffff"


def test_every_edge_is_an_arrow_and_negative_ones_are_dashed(axes):
    arrows = axes.patches
    assert len(arrows) == len(EDGES)
    assert [arrow.get_linestyle() for arrow in arrows].count("dashed") == 1
    widest = max(arrows, key=lambda arrow: arrow.get_linewidth())
    assert to_hex(widest.get_edgecolor()) == PORT_COLOURS[""].lower()


def test_the_legend_names_only_what_is_there(axes):
    (legend,) = axes.figure.legends
    labels = [text.get_text() for text in legend.get_texts() if text.get_text().strip()]
    assert labels == [
        "into queries",
        "into keys",
        "into values",
        "into MLP or logits",
        "of any colour: supports the answer",
        "of any colour: works against it",
        "name mover",
    ]


def test_without_a_circuit_it_says_why():
    (axes,) = draw(EDGES.iloc[:0], ROLES.iloc[:0]).axes
    assert [text.get_text() for text in axes.texts] == ["no circuit"]


def test_no_entry_of_the_legend_looks_like_another(axes):
    handles = axes.figure.legends[0].legend_handles
    lines = [one for one in handles if hasattr(one, "get_linestyle") and hasattr(one, "get_color")]
    looks = [
        (to_hex(one.get_color()), one.get_linestyle()) for one in lines if one.get_label().strip()
    ]
    assert len(looks) == len(set(looks)) == 6


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["no_behaviour"], "does not do the task"),
        (["not_reached"], "no circuit of the sizes tried is faithful"),
        (["ok"], "the circuit has no edge"),
        ([], "not analysed"),
    ],
)
def test_why_there_is_no_edge_is_what_the_search_found(statuses, words):
    assert words in why_no_edge(statuses)


def test_an_edge_that_skips_a_layer_is_visible_beside_the_node_between():
    """A chain, and an edge past each part of it; all nodes stand above one another."""
    chain = ["input", "m0", "a1.h2", "logits"]
    pairs = [*pairwise(chain), ("input", "a1.h2"), ("m0", "logits"), ("input", "logits")]
    edges = pd.DataFrame(pairs, columns=["source", "target"]).assign(port="", score=0.5)
    figure = draw(edges, ROLES.iloc[:0])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = {t.get_text(): t.get_bbox_patch().get_window_extent() for t in axes.texts}
    names = {"a1.h2": "1.2"}
    middles = {node: boxes[names.get(node, node)] for node in chain}
    assert len(axes.patches) == len(pairs)
    for arrow in axes.patches:
        path = arrow.get_path().transformed(arrow.get_transform())
        touched = {
            node
            for node, box in middles.items()
            if any(box.contains(x, y) for x, y in path.to_polygons(closed_only=False)[0])
        }
        assert len(touched) <= 2, touched


def test_rows_follow_the_layers_from_the_embedding_to_the_logits():
    places = place_nodes(EDGES)
    rows = {node: y for node, (_, y) in places.at.items()}
    assert rows == {"input": 0, "a0.h1": 1, "a2.h0": 2, "m2": 2, "logits": 3}
    assert (places.n_rows, places.widest) == (4, 2)


def test_nodes_are_put_where_their_edges_do_not_cross():
    """Two chains: in the order of the names they would cross between every two rows."""
    chains = [("a0.h0", "a1.h9"), ("a0.h1", "a1.h0"), ("a1.h9", "a2.h0"), ("a1.h0", "a2.h1")]
    at = place_nodes(pd.DataFrame(chains, columns=["source", "target"])).at
    left, right = ("a0.h0", "a1.h9", "a2.h0"), ("a0.h1", "a1.h0", "a2.h1")
    signs = {at[a][0] < at[b][0] for a, b in zip(left, right, strict=True)}
    assert len(signs) == 1


def test_the_same_circuit_gives_the_same_places():
    assert place_nodes(EDGES) == place_nodes(EDGES.iloc[::-1])
