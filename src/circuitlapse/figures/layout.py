"""Where the nodes of a circuit stand in a diagram: layer by layer, with few crossings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import networkx as nx
import pandas as pd

SWEEPS = 24
"""Times that the order within rows is improved, downwards and upwards in turn."""
ROW_IN = 0.7
"""Height of a row."""
MANY = 14
"""From so many nodes in a row on, their names are smaller."""


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
    neighbours (the barycentre rule of Sugiyama et al. 1981), which leaves few crossings.

    Args:
        edges: rows of `circuit_edges`, with `source` and `target`.
    """
    graph = nx.from_pandas_edgelist(edges, "source", "target", create_using=nx.DiGraph)
    layers = sorted({_layer(node) for node in graph})
    rows = [sorted(node for node in graph if _layer(node) == layer) for layer in layers]
    x = {node: place for row in rows for node, place in _spread(row).items()}
    neighbours = {node: list(nx.all_neighbors(graph, node)) for node in graph}
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
    """Space the nodes of a row evenly; a row of one stands in the middle."""
    return {node: (index + 0.5) / len(row) for index, node in enumerate(row)}
