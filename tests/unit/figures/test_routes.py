from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.figures.circuit_diagram import bends, curve

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
