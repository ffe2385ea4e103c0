"""How much two circuits have in common, and how much two random ones would."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.faithfulness import grid_sizes
from circuitlapse.circuits.rankings import random_order
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import Graph
from circuitlapse.types import Level, Weighting

GRID_RATIO = 1.4
"""Ratio of neighbouring sizes at which circuits of equal size are compared."""
N_RANDOM = 20
"""Random circuits of each size; the expected overlap is a mean over their 380 ordered pairs."""


class Shares(NamedTuple):
    """Edges or nodes of a circuit.

    Attributes:
        part: numbers of the edges, or of the nodes, ascending.
        share: of each in the summed |score|; the sum is 1.
    """

    part: Int[ndarray, " part"]
    share: Float[ndarray, " part"]


class Parts(NamedTuple):
    """The edges and the nodes of one circuit, each with its share.

    Attributes:
        edge: |score| over the sum of |score| of the circuit, by position in the flattened score
            matrix.
        node: the summed |score| of the edges that touch a head or an MLP, over the total of all
            of these, by row of the score matrix. An edge counts for both of its ends. `input` and
            `logits` are left out: they are in every circuit, so any two circuits would overlap.
    """

    edge: Shares
    node: Shares


def parts_of(circuit: Circuit, scores: Float[ndarray, "source target"]) -> Parts:
    """Return the parts of a circuit whose edges have these scores."""
    graph = circuit.graph
    rows, columns = np.nonzero(circuit.mask)  # [edge]
    weight = np.abs(scores[rows, columns]).astype(np.float64)  # [edge]
    ends = np.concatenate([rows, graph.target_nodes[columns]])  # [2 * edge]: nodes of every edge
    at_node = np.zeros(graph.n_nodes)
    np.add.at(at_node, ends, np.tile(weight, 2))
    touched = _touched(graph, rows, columns)
    return Parts(
        edge=_shares(rows * len(graph.targets) + columns, weight),
        node=_shares(touched, at_node[touched]),
    )


def _touched(
    graph: Graph, rows: Int[ndarray, " edge"], columns: Int[ndarray, " edge"]
) -> Int[ndarray, " node"]:
    """Return the heads and MLPs that the edges touch, ascending."""
    touched = np.zeros(graph.n_nodes, dtype=bool)
    touched[rows] = touched[graph.target_nodes[columns]] = True
    touched[[0, -1]] = False  # `input` and `logits`
    return np.flatnonzero(touched)


def _shares(part: Int[ndarray, " part"], weight: Float[ndarray, " part"]) -> Shares:
    total = weight.sum()
    return Shares(part, weight / total if total else np.full(len(weight), np.nan))


def jaccard(one: Shares, other: Shares) -> float:
    """Return the number of parts in both circuits over the number in either; NaN if there are none.

    Shares do not matter.
    """
    both = len(np.intersect1d(one.part, other.part, assume_unique=True))
    either = len(one.part) + len(other.part) - both
    return both / either if either else float("nan")


def weighted_jaccard(one: Shares, other: Shares) -> float:
    """Return the sum of the smaller shares over the sum of the larger ones, for all parts.

    A part that is not in a circuit has the share 0 there. The result is NaN if neither circuit has
    any parts, or if all scores of a circuit are 0.
    """
    _, a, b = np.intersect1d(one.part, other.part, assume_unique=True, return_indices=True)
    smaller = np.minimum(one.share[a], other.share[b]).sum()
    larger = one.share.sum() + other.share.sum() - smaller
    return float(smaller / larger) if larger else float("nan")


MEASURES = {Weighting.NONE: jaccard, Weighting.ABS: weighted_jaccard}
"""Weighting -> overlap of two circuits."""


def overlaps(one: Parts, other: Parts) -> Float[ndarray, "level weighting"]:
    """Return the overlap of two circuits at every level and weighting, in the enums' order."""
    values = [
        MEASURES[weighting](getattr(one, level), getattr(other, level))
        for level, weighting in product(Level, Weighting)
    ]
    return np.array(values).reshape(len(Level), len(Weighting))


def comparison_sizes(graph: Graph) -> Int[ndarray, " size"]:
    """Return the numbers of edges at which circuits of equal size are compared, ascending.

    They are the same for every circuit of a graph, so that the overlap of two steps and that of
    two halves of the prompts are known at the same size.
    """
    return np.array(grid_sizes(graph.n_edges, ratio=GRID_RATIO))


def comparison_size(graph: Graph, n_edges: int) -> int:
    """Return the one of these sizes with the smallest ratio to `n_edges`."""
    sizes = comparison_sizes(graph)
    return int(sizes[np.abs(np.log(sizes / n_edges)).argmin()])


class RandomCircuits:
    """Circuits that know nothing of the model: grown along random scores, and pruned.

    They have as many edges as a circuit, or a few more, and are grown like it, from the logits if
    `how` is `greedy`. So they share what any two circuits share: edges near the logits come first.

    Args:
        graph: of the model.
        how: `greedy`, `top_n` or `nodes`, see `edge_order`.
        largest: most edges of a circuit.
    """

    def __init__(self, graph: Graph, *, how: str, largest: int) -> None:
        """Draw the order of edges of every circuit; the seed is fixed."""
        self._graph, self._how, self._largest = graph, how, largest
        self._members: dict[tuple[Level, int], Bool[ndarray, "circuit part"]] = {}
        self._expected: dict[tuple[Level, int, int], float] = {}

    def expected(self, level: Level, n_edges: int, n_edges_other: int) -> float:
        """Return the mean Jaccard index of two of them, with so many edges; NaN without edges."""
        key = (level, n_edges, n_edges_other)
        if key not in self._expected:
            one, other = (self._parts(level, n).astype(np.float64) for n in key[1:])  # [circuit, p]
            both = one @ other.T  # [circuit, circuit]
            either = one.sum(1)[:, None] + other.sum(1) - both
            apart = ~np.eye(N_RANDOM, dtype=bool)  # a circuit is not compared with itself
            known = apart & (either > 0)
            values = both[known] / either[known]
            self._expected[key] = float(values.mean()) if values.size else float("nan")
        return self._expected[key]

    @cached_property
    def _grown(self) -> list[tuple[Int[ndarray, "2 edge"], Float[ndarray, " edge"]]]:
        """The edges of every circuit in the order in which it gets them, and `_sizes_of_entry`."""
        grown = []
        for draw in range(N_RANDOM):
            first, found = max(1, self._largest), -1
            while found < self._largest:
                first = min(2 * first, self._graph.n_edges)
                how: dict[str, Any] = {"seed": draw, "how": self._how, "first": first}
                edges = random_order(self._graph, **how).T
                entry = _sizes_of_entry(self._graph, edges)
                found = self._largest if first == self._graph.n_edges else np.isfinite(entry).sum()
            place = np.argsort(entry, kind="stable")
            grown.append((edges[:, place], entry[place]))
        return grown

    def _parts(self, level: Level, n_edges: int) -> Bool[ndarray, "circuit part"]:
        """Return which edges, of those in any circuit, or which nodes are in each circuit."""
        if (level, n_edges) not in self._members:
            edges = [_first(*grown, n_edges) for grown in self._grown]  # [2, edge] each
            if level == Level.EDGE:
                known = [np.searchsorted(self._edges, self._numbers(one)) for one in edges]
            else:
                known = [_touched(self._graph, *one) for one in edges]
            n_parts = len(self._edges) if level == Level.EDGE else self._graph.n_nodes
            members = np.zeros((N_RANDOM, n_parts), dtype=bool)
            for row, parts in enumerate(known):
                members[row, parts] = True
            self._members[level, n_edges] = members
        return self._members[level, n_edges]

    @cached_property
    def _edges(self) -> Int[ndarray, " part"]:
        """The edges in any of the circuits, ascending."""
        return np.unique(np.concatenate([self._numbers(edges) for edges, _ in self._grown]))

    def _numbers(self, edges: Int[ndarray, "2 edge"]) -> Int[ndarray, " edge"]:
        return np.asarray(edges[0] * len(self._graph.targets) + edges[1])


def _first(
    edges: Int[ndarray, "2 edge"], entry: Float[ndarray, " edge"], n_edges: int
) -> Int[ndarray, "2 first"]:
    """Return the smallest pruned circuit of at least so many edges: some enter together."""
    last = entry[n_edges - 1] if n_edges else 0.0
    return edges[:, : np.searchsorted(entry, last, side="right")]


def _sizes_of_entry(graph: Graph, edges: Int[ndarray, "2 edge"]) -> Float[ndarray, " edge"]:
    """Return how many edges of an order must be taken for pruning to leave each edge in.

    That is the case once edges lead to it from `input`, and from it to `logits`. Infinity where
    that needs more edges than the order has.
    """
    taken, (source, target) = np.arange(1.0, edges.shape[1] + 1), edges
    target = graph.target_nodes[target]
    before, after = np.full((2, graph.n_nodes), np.inf)  # so many make a chain up to, or from, it
    before[0] = after[-1] = 0
    for node in range(1, graph.n_nodes):  # sources come before what they send to
        into = target == node
        before[node] = np.maximum(taken[into], before[source[into]]).min(initial=np.inf)
    for node in range(graph.n_nodes - 2, -1, -1):
        out = source == node
        after[node] = np.maximum(taken[out], after[target[out]]).min(initial=np.inf)
    return np.asarray(np.maximum(taken, np.maximum(before[source], after[target])))
