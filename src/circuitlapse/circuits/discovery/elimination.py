"""Drop edges, or nodes, of a faithful circuit that it does not need.

The result depends on the order in which they are tried: another order may leave a smaller circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit, node_scores
from circuitlapse.models.graph import EdgeScores
from circuitlapse.types import Selection

AT_ONCE = 32
"""Parts that are tried together, each dropped alone; the circuits share most of their runs."""

Part = Int[ndarray, "_ 2"]
"""Edges that are dropped together: one, or all of a node."""
Passes = Callable[[list[Circuit]], Bool[ndarray, " circuit"]]
"""Returns which circuits are faithful."""


def parts_to_drop(circuit: Circuit, scores: EdgeScores, *, how: str) -> list[Part]:
    """Return the edges of a circuit, or of a node circuit (`how` is `nodes`) the nodes.

    The weakest come first, by |score|, ties in the order of rows and columns. `input` and `logits`
    are no parts.
    """
    edges = np.argwhere(circuit.mask)  # [edge, 2]
    if how != Selection.NODES:
        size = np.abs(scores.values[tuple(edges.T)])
        return [edges[[at]] for at in np.argsort(size, kind="stable")]
    receivers = circuit.graph.target_nodes[edges[:, 1]]
    weakest_first = 1 + np.argsort(np.abs(node_scores(scores)[1:]), kind="stable")
    parts = (edges[(edges[:, 0] == node) | (receivers == node)] for node in weakest_first)
    return [part for part in parts if len(part)]


def eliminate(circuit: Circuit, parts: Sequence[Part], passes: Passes) -> Circuit:
    """Return the circuit without parts that it does not need: no single one can be dropped then.

    `AT_ONCE` parts are tried together: each is dropped alone, and of those that can go, as many are
    dropped together as keep the circuit faithful. This is repeated until every part has been tried
    in vain. A part takes along what it cuts off (see `Circuit.pruned`).

    Args:
        circuit: faithful.
        parts: of it, in the order in which they are tried; see `parts_to_drop`.
        passes: says which circuits are faithful.
    """
    while True:
        smaller = _round(circuit, parts, passes)
        if smaller.n_edges == circuit.n_edges:
            return circuit
        circuit = smaller


def _round(circuit: Circuit, parts: Sequence[Part], passes: Passes) -> Circuit:
    """Try every part once."""
    left = [part for part in parts if circuit.mask[tuple(part.T)].any()]
    for start in range(0, len(left), AT_ONCE):
        tried = [
            part for part in left[start : start + AT_ONCE] if circuit.mask[tuple(part.T)].any()
        ]
        if not tried:
            continue
        can_go = passes([_without(circuit, [part]) for part in tried])
        dropped = [part for part, goes in zip(tried, can_go, strict=True) if goes]
        if dropped:
            nested = [_without(circuit, dropped[: n + 1]) for n in range(len(dropped))]
            faithful = np.flatnonzero(passes(nested))
            # None is if rounding differs between batches: metrics are equal up to the last digits.
            circuit = nested[int(faithful[-1])] if len(faithful) else circuit
    return circuit


def _without(circuit: Circuit, parts: Sequence[Part]) -> Circuit:
    mask = circuit.mask.copy()
    mask[tuple(np.concatenate(parts).T)] = False
    return Circuit(circuit.graph, mask).pruned()
