"""From edge scores to a circuit: put the edges in order, take the first n, prune dead ends.

A node circuit holds all edges among its nodes, `input` and `logits` included. It is the first edges
of an order too: of one in which the edges of a node come together (`nodes`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError, UnknownNameError, unknown_name
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.types import Selection


@dataclass(frozen=True, eq=False)
class Circuit:
    """A set of edges of a graph.

    Attributes:
        graph: names rows and columns.
        mask: [source, target], True where the edge is in the circuit.

    Raises:
        ValueError: if the mask has another shape, or holds an edge that does not exist.
    """

    graph: Graph
    mask: Bool[ndarray, "source target"]

    def __post_init__(self) -> None:
        """Check that every edge of the mask exists."""
        if self.mask.shape != self.graph.exists.shape:
            raise ValueError(f"mask is {self.mask.shape}, graph is {self.graph.exists.shape}")
        extra = np.argwhere(self.mask & ~self.graph.exists)  # [edge, 2]
        if len(extra):
            raise ValueError(f"{self.graph.edge_name(*extra[0])} is not an edge of this graph")

    def __repr__(self) -> str:
        """Return for instance `Circuit(44 of 250 edges)`."""
        return f"Circuit({self.n_edges} of {self.graph.n_edges} edges)"

    @classmethod
    def full(cls, graph: Graph) -> Circuit:
        """Return the whole model as a circuit."""
        return cls(graph, graph.exists.copy())

    @classmethod
    def empty(cls, graph: Graph) -> Circuit:
        """Return the circuit without edges."""
        return cls(graph, np.zeros_like(graph.exists))

    @property
    def n_edges(self) -> int:
        """Number of edges in the circuit."""
        return int(self.mask.sum())

    @property
    def n_nodes(self) -> int:
        """Number of nodes that an edge of the circuit touches, `input` and `logits` included."""
        return int((_sends(self) | _receives(self)).sum())

    @property
    def heads(self) -> Bool[ndarray, "layer head"]:
        """True for the heads that an edge of the circuit touches."""
        touched = np.logical_or(_sends(self), _receives(self))  # [node]
        return np.asarray(np.take(touched, self.graph.head_rows))

    def heads_into(self, targets: Sequence[int]) -> Bool[ndarray, "layer head"]:
        """Return which heads have an edge of the circuit into one of these columns."""
        sends = np.any(self.mask[:, list(targets)], axis=1)  # [source]
        return np.asarray(np.take(sends, self.graph.head_rows))

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of the edges, in the order of rows and columns."""
        return tuple(self.graph.edge_name(*index) for index in np.argwhere(self.mask))

    def pruned(self) -> Circuit:
        """Drop nodes that nothing reaches or that reach nothing, until none is left."""
        circuit = self
        while True:
            dead = _dead_edges(circuit)  # removing these may cut off further nodes
            if not dead.any():
                return circuit
            circuit = Circuit(self.graph, circuit.mask & ~dead)


def circuit_of(record: CircuitRecord) -> Circuit | None:
    """Return the circuit of a record, or None where none was found.

    Raises:
        ArtifactError: see `graph_of`.
    """
    return None if record.n_requested is None else Circuit(graph_of(record), record.in_circuit)


def graph_of(record: CircuitRecord) -> Graph:
    """Return the graph of a record.

    Raises:
        ArtifactError: if the record is of no graph that `Graph` knows.
    """
    n_heads = sum(name.startswith("a0.") for name in record.sources)
    n_layers = sum(name.startswith("m") for name in record.sources)
    for parallel in (True, False):
        graph = Graph(n_layers, n_heads, parallel)
        names = (graph.sources, graph.targets) == (record.sources, record.targets)
        if names and np.array_equal(graph.exists, ~np.isnan(record.scores)):
            return graph
    raise ArtifactError(
        f"{record.name}: its nodes and edges are not those of a model with {n_layers} layers of "
        f"{n_heads} heads and one MLP each"
    )


def _sends(circuit: Circuit) -> Bool[ndarray, " node"]:
    sends: ndarray = np.append(circuit.mask.any(axis=1), False)  # nodes: sources, then logits
    return sends


def _receives(circuit: Circuit) -> Bool[ndarray, " node"]:
    received = np.zeros(circuit.graph.n_nodes, dtype=bool)
    # `at` is unbuffered: the three ports of a head all count for the one node that owns them.
    np.logical_or.at(received, circuit.graph.target_nodes, circuit.mask.any(axis=0))
    return received


def _dead_edges(circuit: Circuit) -> Bool[ndarray, "source target"]:
    """Return the edges from a node without inputs or into a node without outputs."""
    no_input, no_output = ~_receives(circuit), ~_sends(circuit)
    no_input[0] = no_output[-1] = False  # `input` needs no input, `logits` no output
    dead: ndarray = no_input[:-1, None] | no_output[circuit.graph.target_nodes][None, :]
    dead &= circuit.mask
    return dead


def edge_order(
    scores: EdgeScores, *, how: str = "greedy", signed: bool = False, first: int | None = None
) -> Int[ndarray, "edge 2"]:
    """Return (source, target) of every edge, the most important first.

    `greedy` grows from `logits`: of the edges into nodes that are already in, it takes the
    one with the largest |score|, and its source joins. `top_n` ignores connectivity. `nodes` takes
    the node with the largest |score| (see `node_scores`), and all edges between it and the nodes
    that are in already, the largest |score| first; see `circuit_sizes`. The first n edges of the
    order are the circuit of size n, so circuits are nested. Ties go to the smaller source, then
    target index.

    Args:
        scores: of every edge.
        how: `greedy`, `top_n` or `nodes`.
        signed: rank by the score itself, so that edges which hurt come last, instead of |score|.
        first: return only so many edges of the order; None returns all.

    Raises:
        UnknownNameError: if `how` is none of these.
    """
    weight = scores.values if signed else np.abs(scores.values)
    if how not in set(Selection):
        raise UnknownNameError(unknown_name("selection", how, Selection))
    edges = np.argwhere(scores.graph.exists)  # [edge, 2], in the order of rows and columns
    # A stable sort keeps that order where scores tie.
    ranked = edges[np.argsort(-weight[tuple(edges.T)], kind="stable")]
    first = len(ranked) if first is None else first
    if how == Selection.GREEDY:
        return _greedy_order(scores.graph, ranked, first)
    if how == Selection.NODES:
        ranked = ranked[np.argsort(_joining(scores, ranked, signed=signed), kind="stable")]
    return ranked[:first]


def node_scores(scores: EdgeScores) -> Float[ndarray, " source"]:
    """Return the score of every source: the sum of the scores of the edges that leave it.

    With `eap` it is the change of the node's output times the gradient of the metric there, which
    is attribution patching of the node (arXiv 2310.10348).
    """
    return np.asarray(np.nansum(scores.values, axis=1))


def circuit_sizes(scores: EdgeScores, *, how: str) -> Int[ndarray, " size"]:
    """Return the numbers of edges of an order that make a circuit, ascending.

    Any number of edges does, but with `nodes` only those of 0, 1, 2, ... nodes beside `input` and
    `logits`. Of another number, the last node lacks edges.
    """
    if how != Selection.NODES:
        return np.arange(1, scores.graph.n_edges + 1)
    joining = _joining(scores, np.argwhere(scores.graph.exists), signed=False)
    return np.bincount(joining).cumsum()


def _joining(
    scores: EdgeScores, edges: Int[ndarray, "edge 2"], *, signed: bool
) -> Int[ndarray, " edge"]:
    """Return with which node each edge joins a node circuit: 0 for that from input to logits."""
    weight = node_scores(scores) if signed else np.abs(node_scores(scores))
    place = np.zeros(scores.graph.n_nodes, dtype=int)  # `input` and `logits` are there from 0 on
    place[1 + np.argsort(-weight[1:], kind="stable")] = np.arange(1, len(weight))
    receivers = scores.graph.target_nodes[edges[:, 1]]
    return np.asarray(np.maximum(place[edges[:, 0]], place[receivers]))


def _greedy_order(
    graph: Graph, ranked: Int[ndarray, "edge 2"], n_edges: int
) -> Int[ndarray, "taken 2"]:
    """Return the first edges in the order in which they join the circuit; `ranked` is best first.

    An edge is known by its rank. For every target of a node that has joined, the heap holds the
    best rank that is left, so each step costs the logarithm of the number of targets.
    """
    first, following = _chains(ranked[:, 1], len(graph.targets))
    sources = ranked[:, 0].tolist()
    # For each node, the best edge into each of its inputs.
    firsts_of = [first[graph.target_nodes == node].tolist() for node in range(graph.n_nodes)]
    joined = [False] * (graph.n_nodes - 1)
    candidates: list[int] = sorted(firsts_of[-1])  # a sorted list is a heap; [-1] is `logits`
    order: list[int] = []
    while candidates and len(order) < n_edges:
        rank = candidates[0]
        order.append(rank)
        if following[rank] < 0:  # the last edge into its target
            heapq.heappop(candidates)
        else:
            heapq.heapreplace(candidates, following[rank])
        if not joined[sources[rank]]:
            joined[sources[rank]] = True
            for best in firsts_of[sources[rank]]:
                heapq.heappush(candidates, best)
    return ranked[order]


def _chains(
    targets: Int[ndarray, " edge"], n_targets: int
) -> tuple[Int[ndarray, " target"], list[int]]:
    """Return the first edge of each target, and for each edge the next one of its target, or -1."""
    by_target = np.argsort(targets, kind="stable")  # edges of one target together, best first
    counts = np.bincount(targets, minlength=n_targets)  # [target]
    ends = counts.cumsum()  # where the edges of each target end in `by_target`
    following = np.full(len(targets), -1)
    following[by_target[:-1]] = by_target[1:]
    following[by_target[ends - 1]] = -1  # the next one there belongs to another target
    return by_target[ends - counts], following.tolist()


def cut(
    graph: Graph, order: Int[ndarray, "edge 2"], n_edges: int, *, prune: bool = True
) -> Circuit:
    """Return the circuit of the first `n_edges` edges of an order; pruning may remove all of them.

    Raises:
        TypeError: if `n_edges` is not a whole number.
        ValueError: if `n_edges` is not in 0..number of edges.
    """
    if isinstance(n_edges, bool) or not hasattr(n_edges, "__index__"):
        raise TypeError(f"n_edges must be a whole number, found {n_edges!r}")
    if not 0 <= n_edges <= len(order):
        raise ValueError(f"n_edges must lie in 0..{len(order)}, found {n_edges}")
    mask = np.zeros_like(graph.exists)
    mask[tuple(order[:n_edges].T)] = True
    circuit = Circuit(graph, mask)
    return circuit.pruned() if prune else circuit


def select_circuit(
    scores: EdgeScores, n_edges: int, how: str = "greedy", prune: bool = True
) -> Circuit:
    """Return the circuit of the `n_edges` most important edges.

    Pruning may leave fewer, or none: where no chain of the edges taken leads from `input` to
    `logits`, the circuit is empty. Its `n_edges` says how many are left.

    Args:
        scores: from `attribute_edges`.
        n_edges: how many edges to take, before pruning.
        how: `greedy`, `top_n` or `nodes`, see `edge_order`.
        prune: drop edges of nodes that are cut off from `input` or from `logits`.

    Raises:
        TypeError: if `n_edges` is not a whole number.
        ValueError: if `n_edges` is not in 0..number of edges.
        UnknownNameError: if `how` is unknown.
    """
    return cut(scores.graph, edge_order(scores, how=how), n_edges, prune=prune)


def select_by_threshold(scores: EdgeScores, threshold: float, prune: bool = True) -> Circuit:
    """Return the circuit of all edges whose |score| is at least `threshold`.

    Args:
        scores: from `attribute_edges`.
        threshold: in units of the metric.
        prune: drop edges of nodes that are cut off from `input` or from `logits`.

    Raises:
        ValueError: if `threshold` is negative or not a number.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, found {threshold}")
    circuit = Circuit(scores.graph, np.abs(scores.values) >= threshold)
    return circuit.pruned() if prune else circuit
