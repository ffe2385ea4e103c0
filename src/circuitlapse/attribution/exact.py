"""The effect of each edge alone, measured: the yardstick that the other methods estimate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.graph import Graph
from circuitlapse.metrics import loss_sign
from circuitlapse.selection import Circuit

AT_ONCE = 64
"""Circuits per call; each differs from the whole model in one edge and shares most of it."""


def exact_scores(
    graph: Graph,
    evaluate: Callable[[list[Circuit]], Float[ndarray, "circuit pair"]],
    *,
    metric: str,
) -> Float[ndarray, "source target"]:
    """Return by how much the loss grows when one edge is taken out of the model, per edge.

    Costs a good part of a pass per edge: for small models and tests.

    Args:
        graph: of the model.
        evaluate: returns the metric of circuits.
        metric: decides the sign.
    """
    whole = evaluate([Circuit.full(graph)]).mean()
    edges = np.argwhere(graph.exists)
    scores = np.zeros(graph.exists.shape)
    for start in range(0, len(edges), AT_ONCE):
        part = edges[start : start + AT_ONCE]
        without = evaluate([_without(graph, edge) for edge in part]).mean(axis=1)
        scores[tuple(part.T)] = loss_sign(metric) * (without - whole)
    return scores


def _without(graph: Graph, edge: Int[ndarray, "2"]) -> Circuit:
    mask = graph.exists.copy()
    mask[tuple(edge)] = False
    return Circuit(graph, mask)
