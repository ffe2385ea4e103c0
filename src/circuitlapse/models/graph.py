"""The computational graph: which node can send to which, and what each is called.

Nodes are `input` (the token embedding), `a{layer}.h{head}`, `m{layer}` and `logits`. A
source is a node with an output; a target is one input of a node, so a head has three:
`a1.h2<q>`, `a1.h2<k>`, `a1.h2<v>`. Node names follow hannamw/EAP-IG.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

Head = tuple[int, int]
"""Layer and head."""
PORTS = ("q", "k", "v")
HEAD_NAME = r"^a(?P<layer>\d+)\.h(?P<head>\d+)$"
"""What the name of an attention head looks like."""
_NAME = re.compile(r"^(?:(?P<word>input|logits)|m(?P<mlp>\d+)|a(?P<layer>\d+)\.h(?P<head>\d+))$")
_TARGET = re.compile(r"^(?P<node>[^<]+)(?:<(?P<port>[qkv])>)?$")


@dataclass(frozen=True)
class Graph:
    """The edge graph of a decoder whose blocks hold one attention and one MLP each.

    With a parallel residual both read the same stream, so attention does not feed the MLP
    of its own layer; with a sequential one it does.
    """

    n_layers: int
    n_heads: int
    parallel: bool = True

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the nodes that send, in the order of the score matrix' rows."""
        names = ["input"]
        for layer in range(self.n_layers):  # the heads of a layer, then its MLP
            names += [f"a{layer}.h{head}" for head in range(self.n_heads)] + [f"m{layer}"]
        return tuple(names)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Names of the inputs that receive, in the order of the score matrix' columns."""
        names: list[str] = []
        for layer in range(self.n_layers):  # all queries, all keys, all values, then the MLP
            names += [f"a{layer}.h{h}<{port}>" for port in PORTS for h in range(self.n_heads)]
            names.append(f"m{layer}")
        return (*names, "logits")

    def n_visible(self, layer: int) -> int:
        """How many sources attention in `layer` can read; they are the first ones."""
        return 1 + layer * (self.n_heads + 1)  # `input`, and the heads and MLP of earlier layers

    def n_visible_to_mlp(self, layer: int) -> int:
        """How many sources the MLP in `layer` can read; they are the first ones."""
        return self.n_visible(layer) + (0 if self.parallel else self.n_heads)

    def head_sources(self, layer: int) -> slice:
        """Rows of the heads of `layer`."""
        return slice(self.n_visible(layer), self.n_visible(layer) + self.n_heads)

    @cached_property
    def head_rows(self) -> Int[ndarray, "layer head"]:
        """Rows of all heads."""
        layers = range(self.n_layers)
        first = np.array([self.head_sources(layer).start for layer in layers], dtype=np.int64)
        return first[:, None] + np.arange(self.n_heads)  # [layer, 1] + [head]

    def mlp_source(self, layer: int) -> int:
        """Row of the MLP of `layer`."""
        return self.n_visible(layer) + self.n_heads

    def port_targets(self, layer: int, port: str) -> slice:
        """Columns of one port of all heads of `layer`."""
        # A layer has three columns per head and one for its MLP.
        start = layer * (3 * self.n_heads + 1) + PORTS.index(port) * self.n_heads
        return slice(start, start + self.n_heads)

    def mlp_target(self, layer: int) -> int:
        """Column of the MLP of `layer`."""
        return layer * (3 * self.n_heads + 1) + 3 * self.n_heads

    @cached_property
    def exists(self) -> Bool[ndarray, "source target"]:
        """True where the matrix entry is an edge of the graph."""
        mask = np.zeros((len(self.sources), len(self.targets)), dtype=bool)
        for layer in range(self.n_layers):
            for port in PORTS:
                mask[: self.n_visible(layer), self.port_targets(layer, port)] = True
            # Sequential: the MLP also reads the heads of its own layer.
            mask[: self.n_visible_to_mlp(layer), self.mlp_target(layer)] = True
        mask[:, -1] = True  # every source reaches the logits
        mask.setflags(write=False)  # it is cached, so a change would reach all who share the graph
        return mask

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return int(self.exists.sum())

    @property
    def n_nodes(self) -> int:
        """Number of named nodes, `input` and `logits` included."""
        return len(self.sources) + 1

    @cached_property
    def target_nodes(self) -> ndarray:
        """For each column, the row of the node that owns it; `len(sources)` for `logits`."""
        row = {name: index for index, name in enumerate(self.sources)}
        row["logits"] = len(self.sources)  # it sends nothing, so it has no row of its own
        return np.array([row[split_target(name)[0]] for name in self.targets])

    def edge_name(self, source: SupportsIndex, target: SupportsIndex) -> str:
        """Return for instance `a0.h3->a1.h2<q>`."""
        return f"{self.sources[source]}->{self.targets[target]}"

    def edge_index(self, name: str) -> tuple[int, int]:
        """Return row and column of an edge name.

        Raises:
            ValueError: if `name` is not an edge of this graph.
        """
        source, arrow, target = name.partition("->")
        known = arrow and source in self.sources and target in self.targets
        if known and self.exists[index := (self.sources.index(source), self.targets.index(target))]:
            return index
        raise ValueError(
            f"{name!r} is not an edge of this graph; expected SOURCE->TARGET such as "
            f"'{self.edge_name(0, 0)}', with the source in an earlier layer than the target"
        )


def split_target(name: str) -> tuple[str, str]:
    """Split a target's name into its node and its port ("" when there is none).

    Raises:
        ValueError: if `name` follows neither form.
    """
    match = _TARGET.match(name)
    if match is None or _NAME.match(match["node"]) is None:
        raise ValueError(f"{name!r} is not the name of an input, such as 'a1.h2<q>' or 'm1'")
    return match["node"], match["port"] or ""


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
