"""Drop edges of a faithful circuit that it does not need.

The result depends on the order in which edges are tried: another order may leave a smaller circuit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit

AT_ONCE = 32
"""Edges that are tried together, each dropped alone; the circuits share most of their runs."""

Passes = Callable[[list[Circuit]], Bool[ndarray, " circuit"]]
"""Returns which circuits are faithful."""


def eliminate(circuit: Circuit, scores: Float[ndarray, "source target"], passes: Passes) -> Circuit:
    """Return the circuit without edges that it does not need: no single one can be dropped then.

    The weakest edges are tried first, `AT_ONCE` together: each is dropped alone, and of those that
    can go, as many are dropped together as keep the circuit faithful. This is repeated until every
    edge has been tried in vain. An edge takes along what it cuts off (see `Circuit.pruned`).

    Args:
        circuit: faithful.
        scores: of every edge; by |score|, ties in the order of rows and columns.
        passes: says which circuits are faithful.
    """
    while True:
        smaller = _round(circuit, scores, passes)
        if smaller.n_edges == circuit.n_edges:
            return circuit
        circuit = smaller


def _round(circuit: Circuit, scores: Float[ndarray, "source target"], passes: Passes) -> Circuit:
    """Try every edge once."""
    edges = np.argwhere(circuit.mask)  # [edge, 2]
    edges = edges[np.argsort(np.abs(scores[tuple(edges.T)]), kind="stable")]
    for start in range(0, len(edges), AT_ONCE):
        tried = [edge for edge in edges[start : start + AT_ONCE] if circuit.mask[tuple(edge)]]
        if not tried:
            continue
        can_go = passes([_without(circuit, np.array([edge])) for edge in tried])
        dropped = np.array(tried)[can_go]
        if len(dropped):
            nested = [_without(circuit, dropped[: n + 1]) for n in range(len(dropped))]
            faithful = np.flatnonzero(passes(nested))
            # None is if rounding differs between batches: metrics are equal up to the last digits.
            circuit = nested[int(faithful[-1])] if len(faithful) else circuit
    return circuit


def _without(circuit: Circuit, edges: Int[ndarray, "dropped 2"]) -> Circuit:
    mask = circuit.mask.copy()
    mask[tuple(edges.T)] = False
    return Circuit(circuit.graph, mask).pruned()
