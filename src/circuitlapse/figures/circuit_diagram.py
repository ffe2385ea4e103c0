"""One circuit as a diagram: nodes by layer, coloured by role; edges by port and sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.layout import ROW_IN, Places, place_nodes
from circuitlapse.figures.routes import bends
from circuitlapse.figures.text import text_width
from circuitlapse.types import Status

ROLE_COLOURS = {
    "NM": "#009E73",
    "NegNM": "#D55E00",
    "CS": "#E69F00",
    "NegCS": "#F0E442",
    "S2I": "#56B4E9",
    "Ind": "#CC79A7",
    "Dup": "#C7B7E8",
}
ROLE_TITLES = {
    "NM": "name mover",
    "NegNM": "negative name mover",
    "CS": "copy suppression",
    "NegCS": "copy suppression, harmful",
    "S2I": "S-inhibition",
    "Ind": "induction",
    "Dup": "duplicate token",
}
NO_ROLE, OTHER = "#FFFFFF", "#E3E3E3"
PORT_COLOURS = {"q": "#0072B2", "k": "#D55E00", "v": "#009E73", "": "#7B3294"}
PORT_TITLES = {"q": "into queries", "k": "into keys", "v": "into values", "": "into MLP or logits"}
_BORDER: dict[str, Any] = {"edgecolor": "#444444", "linewidth": 0.5}
_SIGNS: tuple[tuple[bool, Any, str], ...] = (
    (False, "solid", "of any colour: supports the answer"),
    (True, "dashed", "of any colour: works against it"),
)
_PAD = 0.25
"""Between the name of a node and its box, as a share of the type size."""
_SIDE_IN = 0.2
"""What of the width is beside the panel."""
_FREE_IN = 0.04
"""How far an edge stays away from the boxes of nodes that it does not touch."""


def circuit_diagram(
    edges: pd.DataFrame, *, roles: pd.DataFrame, title: str, why_empty: str
) -> Figure:
    """Draw one circuit from the embedding (bottom) to the logits (top).

    An edge is as wide as its |score| is large beside the largest; dashed ones have a negative
    score, so corrupting them helps. Edges bend around nodes that they pass. A head
    with several roles has the colour of that with the largest |effect|.

    Args:
        edges: rows of `circuit_edges` of one model, task and step.
        roles: rows of `roles` of the same; none for tasks without known roles.
        title: stands above.
        why_empty: what to say where there is no edge.
    """
    with style.in_style():
        places = place_nodes(edges)
        figure = Figure(figsize=(style.WIDTH_IN, places.height_in + 1.1), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_title(title)
        if edges.empty:
            notes.say(axes, why_empty)
            return figure
        _draw_edges(axes, edges, places)
        colours = _role_of(roles)
        _draw_nodes(axes, places, colours)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.5, places.n_rows - 0.5)
        groups = (_port_handles(edges), _sign_handles(edges), _role_handles(colours, places))
        legends.legend_below(figure, *[group for group in groups if group], n_rows=4)
    return figure


def why_no_edge(statuses: Iterable[str]) -> str:
    """Say why a circuit has no edge.

    Args:
        statuses: of its rows in `circuit_summary`: one, or none if the step was not analysed.
    """
    reasons = {
        Status.NO_BEHAVIOUR: "no circuit: the model does not do the task at this step",
        Status.NOT_REACHED: "no circuit of the sizes tried is faithful, and the largest is empty",
    }
    for status in statuses:
        return reasons.get(Status(status), "the circuit has no edge")
    return "not analysed"


def _draw_edges(axes: Axes, edges: pd.DataFrame, places: Places) -> None:
    strength = (edges["score"].abs() / edges["score"].abs().max()).pow(0.5)
    rows = edges.assign(strength=strength, negative=edges["score"] < 0)
    rows = rows.sort_values("strength", ascending=False, kind="stable")
    for (port, negative, bend), group in rows.assign(bend=_bends(rows, places)).groupby(
        ["port", "negative", "bend"]
    ):
        pairs = list(zip(group["source"], group["target"], strict=True))
        nx.draw_networkx_edges(
            nx.DiGraph(pairs),
            places.at,
            ax=axes,
            edgelist=pairs,
            width=(0.3 + 1.9 * group["strength"]).tolist(),
            alpha=(0.25 + 0.65 * group["strength"]).tolist(),
            edge_color=PORT_COLOURS[str(port)],
            style="dashed" if negative else "solid",
            arrowstyle="-|>",
            arrowsize=5,
            node_size=300,
            connectionstyle=f"arc3,rad={bend}",
        )


def _bends(edges: pd.DataFrame, places: Places) -> list[float]:
    """Return how much each edge bends, for nodes as large as they are drawn."""
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
        face = ROLE_COLOURS[colours[node]] if node in colours else _plain(node)
        box = {"boxstyle": f"round,pad={_PAD}", "facecolor": face, **_BORDER}
        text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3, "bbox": box}
        axes.text(x, y, _short(node), fontsize=places.type_size, **text)


def _plain(node: str) -> str:
    return NO_ROLE if node.startswith("a") else OTHER


def _short(node: str) -> str:
    """Return for instance "8.2" for a8.h2."""
    return node[1:].replace(".h", ".") if node.startswith("a") else node


def _role_of(roles: pd.DataFrame) -> dict[str, str]:
    strongest_last = roles.assign(size=roles["effect"].abs()).sort_values("size", kind="stable")
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
