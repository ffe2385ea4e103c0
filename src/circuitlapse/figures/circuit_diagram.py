"""One circuit as a diagram: nodes by layer, coloured by role; edges by port and sign."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from numpy import ndarray

from circuitlapse.figures import layout, style
from circuitlapse.figures.style import text_width
from circuitlapse.types import ROLE_TITLES, Role
from circuitlapse.types.status import Status

SWEEPS = 24
"""Number of passes that improve the order within rows, alternately downwards and upwards."""
ROW_IN = 0.7
"""Height of a row."""
MANY = 14
"""With at least this many nodes in a row, names are smaller."""

Point = tuple[float, float]
"""A place on paper, in inches from the lower left."""

_STEP = 0.09
"""Difference between two bends, as a share of the distance between the nodes."""
_MOST, _FURTHEST_IN = 12, 0.9
"""Number of bends tried on either side; largest distance of a curve from the straight line."""
_ALONG = np.linspace(0.03, 0.97, 48)[:, None]
ROLE_COLOURS = {
    Role.NAME_MOVER: "#009E73",
    Role.COPY_SUPPRESSION: "#E69F00",
    Role.NEGATIVE_COPY_SUPPRESSION: "#F0E442",
    Role.NEGATIVE_NAME_MOVER: "#D55E00",
    Role.S_INHIBITION: "#56B4E9",
    Role.INDUCTION: "#CC79A7",
    Role.DUPLICATE_TOKEN: "#C7B7E8",
}
NO_ROLE, OTHER = "#FFFFFF", "#E3E3E3"
PORT_COLOURS = {"q": "#0072B2", "k": "#D55E00", "v": "#009E73", "": "#7B3294"}
PORT_TITLES = {"q": "into queries", "k": "into keys", "v": "into values", "": "into MLP or logits"}
_BORDER: dict[str, Any] = {"edgecolor": "#444444", "linewidth": 0.5}
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 5, "zorder": 1}
# points between the end of an arrow and the middle of its node
_ARROW |= dict.fromkeys(("shrinkA", "shrinkB"), math.sqrt(300) / 2)
_SIGNS: tuple[tuple[bool, Any, str], ...] = (
    (False, "solid", "of any colour: supports the answer"),
    (True, "dashed", "of any colour: works against it"),
)
_PAD = 0.25
"""Distance between the name of a node and its box, as a share of the type size."""
_SIDE_IN = 0.2
"""Width of the margins beside the panel."""
_FREE_IN = 0.04
"""Distance of an edge from the boxes of nodes that it does not touch."""


@dataclass(frozen=True)
class Places:
    """Where each node stands: x in 0..1, y is its row, counted from the bottom.

    Attributes:
        at: node -> (x, y).
        n_rows: number of rows.
        widest: number of nodes in the fullest row.
    """

    at: dict[str, tuple[float, float]]
    n_rows: int
    widest: int

    def __iter__(self) -> Iterator[str]:
        return iter(self.at)

    @property
    def height_in(self) -> float:
        """Height of the diagram in inches."""
        return ROW_IN * max(self.n_rows, 3)

    @property
    def type_size(self) -> float:
        """Size of the nodes' names, in points."""
        return 6.5 if self.widest < MANY else max(3.5, 6.5 * MANY / self.widest)


def place_nodes(edges: pd.DataFrame) -> Places:
    """Place the nodes of a circuit.

    The embedding is at the bottom, the logits at the top; heads and MLP of a layer share a row,
    and layers without a node have none. Within a row the order follows the mean place of
    neighbours (the barycentre heuristic of Sugiyama et al. 1981), which leaves few crossings.

    Args:
        edges: rows of `circuit_edges`, with `source` and `target`.
    """
    neighbours: dict[str, set[str]] = defaultdict(set)
    for source, target in zip(edges["source"], edges["target"], strict=True):
        neighbours[source].add(target)
        neighbours[target].add(source)
    layers = sorted({_layer(node) for node in neighbours})
    rows = [sorted(node for node in neighbours if _layer(node) == layer) for layer in layers]
    x = {node: place for row in rows for node, place in _spread(row).items()}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            centre = {node: fmean(x[other] for other in neighbours[node]) for node in row}
            x |= _spread(sorted(row, key=lambda node: (centre[node], node)))
    at = {node: (x[node], float(y)) for y, row in enumerate(rows) for node in row}
    return Places(at, len(rows), max(map(len, rows), default=0))


def _layer(node: str) -> float:
    if node in ("input", "logits"):
        return -1.0 if node == "input" else float("inf")
    return float(node[1:].partition(".")[0])


def _spread(row: list[str]) -> dict[str, float]:
    """Space the nodes of a row evenly; a single node is in the middle."""
    return {node: (index + 0.5) / len(row) for index, node in enumerate(row)}


def bends(
    edges: Sequence[tuple[str, str]],
    at: Mapping[str, Point],
    *,
    half: Mapping[str, Point],
    frame: Point,
) -> list[float]:
    """Return for each edge the `rad` of matplotlib's connection style `arc3`.

    It is the smallest bend that touches the fewest boxes of other nodes and stays on the paper. If
    two nodes have several edges between them, each has its own bend, the first the smallest.

    Args:
        edges: (source, target); the first edges choose their bends first.
        at: node -> its middle, in inches.
        half: node -> half the width and height of its box, margin included.
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
    """Return the bends to try, smallest first; a curve gets half its bend away from the line."""
    length = float(np.hypot(target[0] - source[0], target[1] - source[1]))
    most = min(_MOST, max(3, int(2 * _FURTHEST_IN / (length * _STEP))))
    return [round(sign * step * _STEP, 3) for step in range(most + 1) for sign in (1, -1)][1:]


def _touched(
    points: Float[ndarray, "point xy"], boxes: Float[ndarray, "box 4"], *, frame: Point
) -> int:
    """Return how many boxes (middle, half size) a curve touches, plus 1 if it leaves the paper."""
    distance = np.abs(points[:, None] - boxes[None, :, :2])
    inside = (distance < boxes[None, :, 2:]).all(axis=2).any(axis=0)
    outside = (points < 0).any() or (points > np.array(frame)).any()
    return int(inside.sum()) + int(outside)


def circuit_diagram(
    circuit_edges: pd.DataFrame,
    *,
    roles: pd.DataFrame,
    circuit_summary: pd.DataFrame,
    model: str,
    task: str,
    step: int,
    label: str,
) -> Figure:
    """Draw the circuit of a model for a task at a step, embedding at the bottom, logits on top.

    The larger the |score| of an edge, the wider its line. Edges with a negative score, whose
    corruption helps the model, are dashed. Edges bend around the nodes they pass. A head with
    several roles has the colour of the role with the largest |effect|; of equals, that of the first
    in `ROLE_COLOURS`.

    Args:
        circuit_edges: the table `circuit_edges`.
        roles: the table `roles`; it has rows for the IOI task only.
        circuit_summary: the table `circuit_summary`, to say why a circuit has no edges.
        model: the name of the model in these tables.
        task: the name of the task.
        step: the training step.
        label: what the title calls the model.
    """
    edges, roles, summary = (
        table[(table["model"] == model) & (table["task"] == task) & (table["step"] == step)]
        for table in (circuit_edges, roles, circuit_summary)
    )
    with style.in_style():
        places = place_nodes(edges)
        figure = Figure(figsize=(style.WIDTH_IN, places.height_in + 1.1), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_title(f"{label} at step {step}: {style.task_title(task)}, {len(edges)} edges")
        if edges.empty:
            layout.say(axes, why_no_edge(summary["status"]))
            return figure
        _draw_edges(axes, edges, places)
        colours = _role_of(roles)
        _draw_nodes(axes, places, colours)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.5, places.n_rows - 0.5)
        groups = (_port_handles(edges), _sign_handles(edges), _role_handles(colours, places))
        layout.legend_below(figure, *groups, n_rows=4)
    return figure


def why_no_edge(statuses: Iterable[str]) -> str:
    """Say why a circuit has no edge.

    Args:
        statuses: those of its rows in `circuit_summary`; none if the step was not analysed.
    """
    reasons = {
        Status.NO_BEHAVIOUR: "no circuit: the model does not do the task at this step",
        Status.DUPLICATE: "no circuit: the checkpoint has the weights of another step",
        Status.NO_WEIGHTS: "no circuit: the checkpoint has no weights",
        Status.NOT_REACHED: "no circuit of the sizes tried is faithful, and the largest is empty",
    }
    for status in statuses:
        return reasons.get(Status(status), "the circuit has no edge")
    return "not analysed"


def _draw_edges(axes: Axes, edges: pd.DataFrame, places: Places) -> None:
    strength = (edges["score"].abs() / edges["score"].abs().max()).pow(0.5)
    rows = edges.assign(width=0.3 + 1.9 * strength, alpha=0.25 + 0.65 * strength)
    # strong edges choose their bends first
    rows = rows.iloc[np.argsort(-strength.to_numpy(), kind="stable")]
    rows = rows.assign(bend=_bends(rows, places), negative=rows["score"] < 0)
    rows = rows.sort_values(["port", "negative", "bend"], kind="stable")
    shown = rows[["source", "target", "port", "negative", "bend", "width", "alpha"]]
    for source, target, port, negative, bend, width, alpha in shown.itertuples(False, None):
        arrow = FancyArrowPatch(
            places.at[source],
            places.at[target],
            color=to_rgba(PORT_COLOURS[port], alpha),
            linewidth=width,
            linestyle="dashed" if negative else "solid",
            connectionstyle=f"arc3,rad={bend}",
            **_ARROW,
        )
        axes.add_patch(arrow)


def _bends(edges: pd.DataFrame, places: Places) -> list[float]:
    """Return the bend of each edge, given the drawn sizes of the nodes."""
    width = style.WIDTH_IN - _SIDE_IN
    at = {node: (width * x, ROW_IN * (y + 0.5)) for node, (x, y) in places.at.items()}
    size, padded = places.type_size, 2 * _PAD * places.type_size
    half = {
        node: (
            (text_width(_short(node), size) + padded) / 144 + _FREE_IN,
            (size + padded) / 144 + _FREE_IN,
        )
        for node in at
    }
    pairs = list(zip(edges["source"], edges["target"], strict=True))
    return bends(pairs, at, half=half, frame=(width, ROW_IN * places.n_rows))


def _draw_nodes(axes: Axes, places: Places, colours: Mapping[str, str]) -> None:
    for node, (x, y) in places.at.items():
        face = ROLE_COLOURS[Role(colours[node])] if node in colours else _plain(node)
        box = {"boxstyle": f"round,pad={_PAD}", "facecolor": face, **_BORDER}
        text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3, "bbox": box}
        axes.text(x, y, _short(node), fontsize=places.type_size, **text)


def _plain(node: str) -> str:
    return NO_ROLE if node.startswith("a") else OTHER


def _short(node: str) -> str:
    """Return for instance "8.2" for a8.h2."""
    return node[1:].replace(".h", ".") if node.startswith("a") else node


def _role_of(roles: pd.DataFrame) -> dict[str, str]:
    order = roles["role"].map({role: -place for place, role in enumerate(ROLE_COLOURS)})
    sized = roles.assign(size=roles["effect"].abs(), order=order)
    strongest_last = sized.sort_values(["size", "order"])
    rows = strongest_last[["layer", "head", "role"]].itertuples(index=False, name=None)
    return {f"a{layer}.h{head}": role for layer, head, role in rows}


def _port_handles(edges: pd.DataFrame) -> list[Artist]:
    found = set(edges["port"])
    return [
        Line2D([], [], color=colour, label=PORT_TITLES[port])
        for port, colour in PORT_COLOURS.items()
        if port in found
    ]


def _sign_handles(edges: pd.DataFrame) -> list[Artist]:
    found = set(edges["score"] < 0)
    if True not in found:
        return []
    return [
        Line2D([], [], color="black", linestyle=line, label=label)
        for negative, line, label in _SIGNS
        if negative in found
    ]


def _role_handles(colours: Mapping[str, str], places: Iterable[str]) -> list[Artist]:
    found = {colours[node] for node in places if node in colours}
    return [
        Patch(facecolor=colour, label=ROLE_TITLES[role], **_BORDER)
        for role, colour in ROLE_COLOURS.items()
        if role in found
    ]
