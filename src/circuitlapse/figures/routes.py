"""How much each edge of a diagram bends, so that it runs behind no node and on no other edge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Point = tuple[float, float]
"""A place on paper, in inches from the lower left."""

_STEP = 0.09
"""By how much bends differ, as a share of the distance of the two nodes."""
_MOST, _FURTHEST_IN = 12, 0.9
"""Bends tried to either side, and how far from the straight line a curve may get."""
_ALONG = np.linspace(0.03, 0.97, 48)[:, None]


def bends(
    edges: Sequence[tuple[str, str]],
    at: Mapping[str, Point],
    *,
    half: Mapping[str, Point],
    frame: Point,
) -> list[float]:
    """Return for each edge the `rad` of matplotlib's connection style `arc3`.

    It is the least bend that touches as few boxes of other nodes as possible and stays on the
    paper. Of several edges between two nodes every one has a bend of its own, the first the least.

    Args:
        edges: (source, target), those first that should be straight.
        at: node -> its middle, in inches.
        half: node -> half of its box's width and height, with what should be free around it.
        frame: width and height of the paper, in inches.
    """
    taken: dict[tuple[str, str], set[float]] = defaultdict(set)
    found = []
    for source, target in edges:
        boxes = [(*at[node], *half[node]) for node in at if node not in (source, target)]
        others = np.array(boxes, dtype=float).reshape(-1, 4)
        ends = at[source], at[target]
        choices = _choices(*ends)
        free = [rad for rad in choices if rad not in taken[source, target]] or choices
        touched = [_touched(curve(*ends, rad=rad), others, frame=frame) for rad in free]
        best = min(zip(touched, map(abs, free), free, strict=True))[-1]
        taken[source, target].add(best)
        found.append(best)
    return found


def curve(source: Point, target: Point, *, rad: float) -> Float[ndarray, "point xy"]:
    """Return points along the quadratic Bezier curve that matplotlib's `arc3` draws."""
    start, end = np.array(source), np.array(target)
    across = np.array([end[1] - start[1], start[0] - end[0]])
    control = (start + end) / 2 + rad * across
    line: ndarray = (
        (1 - _ALONG) ** 2 * start + 2 * _ALONG * (1 - _ALONG) * control + _ALONG**2 * end
    )
    return line


def _choices(source: Point, target: Point) -> list[float]:
    """Return bends from the least on, to both sides; half of one is how far the curve gets."""
    length = float(np.hypot(target[0] - source[0], target[1] - source[1]))
    most = min(_MOST, max(3, int(2 * _FURTHEST_IN / (length * _STEP))))
    return [round(sign * step * _STEP, 3) for step in range(most + 1) for sign in (1, -1)][1:]


def _touched(
    points: Float[ndarray, "point xy"], boxes: Float[ndarray, "box 4"], *, frame: Point
) -> int:
    """Return how many boxes (middle and half size) a curve touches; the paper's edge is one."""
    distance = np.abs(points[:, None] - boxes[None, :, :2])
    inside = (distance < boxes[None, :, 2:]).all(axis=2).any(axis=0)
    outside = (points < 0).any() or (points > np.array(frame)).any()
    return int(inside.sum()) + int(outside)
