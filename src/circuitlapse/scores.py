"""The result of edge attribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.graph import Graph


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """A score per edge of a graph.

    Attributes:
        graph: names the rows (`graph.sources`) and the columns (`graph.targets`).
        values: [source, target] float64, in units of the metric; NaN where no edge exists.
            Positive: replacing the edge's clean message by the corrupted one is predicted to
            lower the metric, so the edge supports the behaviour.

    Raises:
        ValueError: if the shape is not the graph's, or a real edge has no score.
    """

    graph: Graph
    values: Float[ndarray, "source target"]

    def __post_init__(self) -> None:
        """Check shape and that exactly the edges that exist are scored."""
        if self.values.shape != self.graph.exists.shape:
            raise ValueError(
                f"scores are {self.values.shape}, the graph has {self.graph.exists.shape}"
            )
        wrong = np.isnan(self.values) == self.graph.exists
        if wrong.any():
            source, target = np.argwhere(wrong)[0]
            raise ValueError(
                f"the score of {self.graph.edge_name(source, target)} must be "
                f"{'a number' if self.graph.exists[source, target] else 'NaN'}, "
                f"found {self.values[source, target]} ({int(wrong.sum())} such entries)"
            )

    def __repr__(self) -> str:
        """Return for instance `EdgeScores(250 edges, largest |score| 0.31 for input->m0)`."""
        size = np.where(self.graph.exists, np.abs(self.values), -np.inf)
        source, target = np.unravel_index(np.argmax(size), size.shape)
        largest = f"largest |score| {size[source, target]:.3g}"
        name = self.graph.edge_name(source, target)
        return f"EdgeScores({self.graph.n_edges} edges, {largest} for {name})"
