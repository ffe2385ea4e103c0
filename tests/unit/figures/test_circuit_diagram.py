from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from circuitlapse.figures.circuit_diagram import (
    PORT_COLOURS,
    ROLE_COLOURS,
    bends,
    circuit_diagram,
    curve,
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
SUMMARY = pd.DataFrame({"status": ["ok"]})
ROLES = pd.DataFrame(
    [("CS", 2, 0, -0.1), ("NM", 2, 0, -0.5), ("NM", 3, 1, -0.9)],
    columns=["role", "layer", "head", "effect"],
)


WHICH = {"model": "a", "task": "ioi", "step": 64}


def draw(edges=EDGES, roles=ROLES, summary=SUMMARY):
    """The circuit at step 64, from tables that also have another step."""
    edges, roles, summary = (
        pd.concat([table.assign(**WHICH), table.assign(**WHICH | {"step": 128})])
        for table in (edges, roles, summary)
    )
    return circuit_diagram(edges, roles=roles, circuit_summary=summary, label="A", **WHICH)


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


def test_copy_suppression_says_more_than_negative_name_mover():
    """Both are the same effect of one head; the first also says how it comes about."""
    roles = ROLES.assign(role=["CS", "NegNM", "NM"], effect=-0.5)
    for table in (roles, roles[::-1]):
        (name,) = [text for text in draw(roles=table).axes[0].texts if text.get_text() == "2.0"]
        assert to_hex(name.get_bbox_patch().get_facecolor()) == ROLE_COLOURS["CS"].lower()


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


def test_where_every_edge_supports_the_answer_the_legend_has_no_signs():
    figure = draw(EDGES.assign(score=EDGES["score"].abs()), ROLES)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any("of any colour" in label for label in labels)


def test_without_a_circuit_it_says_why():
    (axes,) = draw(EDGES.iloc[:0], ROLES.iloc[:0]).axes
    assert [text.get_text() for text in axes.texts] == ["the circuit has no edge"]


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


FRAME = (4.0, 4.0)
HALF = (0.2, 0.1)


def bends_of(edges, at):
    return bends(edges, at, half=dict.fromkeys(at, HALF), frame=FRAME)


def test_an_edge_with_nothing_in_between_is_straight():
    assert bends_of([("a", "b")], {"a": (2.0, 1.0), "b": (2.0, 3.0), "c": (1.0, 2.0)}) == [0.0]


def test_an_edge_bends_around_a_node_in_between():
    at = {"a": (2.0, 1.0), "b": (2.0, 3.0), "c": (2.0, 2.0)}
    (rad,) = bends_of([("a", "b")], at)
    # half of the bend is how far the middle of the curve lies from the straight line
    assert abs(rad) / 2 * 2.0 >= HALF[0]
    assert np.abs(curve(at["a"], at["b"], rad=rad)[24, 0] - 2.0) == pytest.approx(
        abs(rad) / 2 * 2.0, rel=0.01
    )


def test_it_bends_to_the_side_where_no_other_node_is():
    at = {"a": (2.0, 1.0), "b": (2.0, 3.0), "c": (2.1, 2.0)}
    (rad,) = bends_of([("a", "b")], at)
    assert curve(at["a"], at["b"], rad=rad)[24, 0] < 2.0


def test_several_edges_between_two_nodes_all_differ_and_the_first_is_the_straightest():
    found = bends_of([("a", "b")] * 3, {"a": (2.0, 1.0), "b": (2.0, 3.0)})
    assert len(set(found)) == 3
    assert found[0] == 0.0


def test_an_edge_stays_on_the_paper():
    at = {"a": (0.1, 1.0), "b": (0.1, 3.0), "c": (0.1, 2.0)}
    (rad,) = bends_of([("a", "b")], at)
    assert (curve(at["a"], at["b"], rad=rad) >= 0).all()
    assert rad != 0


def test_the_curve_is_the_one_that_matplotlib_draws():
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch((0, 0), (2, 1), connectionstyle="arc3,rad=0.3", shrinkA=0, shrinkB=0)
    control = arrow.get_connectionstyle()((0, 0), (2, 1), shrinkA=0, shrinkB=0).vertices[1]
    middle = np.array([0, 0]) / 4 + control / 2 + np.array([2, 1]) / 4
    points = curve((0.0, 0.0), (2.0, 1.0), rad=0.3)
    np.testing.assert_allclose((points[23] + points[24]) / 2, middle, atol=1e-3)
