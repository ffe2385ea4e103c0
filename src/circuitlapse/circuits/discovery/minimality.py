"""Minimality: each edge of a circuit matters more than a random edge of an inflated circuit.

A circuit is inflated by a random path: a chain of edges from the input to the logits, some of them
outside the circuit. What the loss of one of these changes is what the loss of a needless edge
changes. The loss of an edge of the circuit is compared with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import Graph
from circuitlapse.types import N_REFERENCES

Edge = tuple[int, int]
"""Row of the source, column of the target."""


@dataclass(frozen=True, eq=False)
class Knockouts:
    """What the loss of single edges changes.

    Attributes:
        half: whose circuit the edge is of, 0 or 1.
        source, target: row and column of the edge.
        effect: |change of the mean metric| on the prompts of the other half.
        p: share of random edges that change as much or more; the edge itself counts as one more.
    """

    half: Int[ndarray, " tested"]
    source: Int[ndarray, " tested"]
    target: Int[ndarray, " tested"]
    effect: Float[ndarray, " tested"]
    p: Float[ndarray, " tested"]

    @classmethod
    def none(cls) -> Knockouts:
        """Return the result if no edge was tested."""
        places, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(places, places, places, numbers, numbers)

    @classmethod
    def joined(cls, parts: Sequence[Knockouts]) -> Knockouts:
        """Return those of several circuits."""
        names = ("half", "source", "target", "effect", "p")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Trial:
    """The circuits to run for the test of one circuit.

    Attributes:
        edges: of the circuit, those that are tested [tested, 2].
        circuits: the circuit; the circuit without each of these; then each inflated circuit,
            followed by the same without an edge that was added.
    """

    edges: Int[ndarray, "tested 2"]
    circuits: Sequence[Circuit]

    @classmethod
    def of(cls, circuit: Circuit, *, n_edges: int, seed: int | tuple[int, ...]) -> Trial:
        """Draw the edges to test and the random paths.

        Args:
            circuit: to test.
            n_edges: to test at most; a random sample of the circuit's if it has more.
            seed: of all draws.
        """
        draw = np.random.default_rng(seed)
        edges = draw.permutation(np.argwhere(circuit.mask))[:n_edges]
        circuits = [
            circuit,
            *(_changed(circuit, drop=[(row, column)]) for row, column in edges.tolist()),
        ]
        for _ in range(N_REFERENCES if len(edges) else 0):
            path = random_path(circuit.graph, draw)
            added = [edge for edge in path if not circuit.mask[edge]]
            if added:  # a path within the circuit inflates nothing
                lost = added[int(draw.integers(len(added)))]
                circuits += [
                    _changed(circuit, add=added),
                    _changed(circuit, add=added, drop=[lost]),
                ]
        return cls(edges, circuits)

    def result(self, metric: Float[ndarray, " circuit"], *, half: int) -> Knockouts:
        """Return effects and p values.

        Args:
            metric: mean over prompts of every circuit.
            half: whose circuit it is.
        """
        n_tested = len(self.edges)
        without, inflated = metric[1 : 1 + n_tested], metric[1 + n_tested :]
        effect, chance = np.abs(metric[0] - without), np.abs(inflated[::2] - inflated[1::2])
        p = share_as_large(effect, chance)
        source, target = self.edges[:, 0], self.edges[:, 1]
        return Knockouts(np.full(n_tested, half), source, target, effect, p)


def share_as_large(
    effect: Float[ndarray, " tested"], chance: Float[ndarray, " reference"]
) -> Float[ndarray, " tested"]:
    """Return p values: under the null hypothesis an effect is one more draw of `chance`."""
    return np.asarray((1 + (chance >= effect[:, None]).sum(1)) / (1 + len(chance)))


def random_path(graph: Graph, draw: np.random.Generator) -> list[Edge]:
    """Return the edges of a path from the logits back to the input.

    At every node, one of its inputs and then one of the sources of that input is drawn.
    """
    path: list[Edge] = []
    node = graph.n_nodes - 1  # the logits
    while node:  # 0 is the input
        target = int(draw.choice(np.flatnonzero(graph.target_nodes == node)))
        node = int(draw.choice(np.flatnonzero(graph.exists[:, target])))
        path.append((node, target))
    return path


def _changed(circuit: Circuit, *, add: Sequence[Edge] = (), drop: Sequence[Edge] = ()) -> Circuit:
    mask = circuit.mask.copy()
    for edges, there in ((add, True), (drop, False)):
        for edge in edges:
            mask[edge] = there
    return Circuit(circuit.graph, mask)
