"""The noise floor: circuits of two halves of the prompts, for many random splits.

Every prompt is scored once. The scores of a half are sums over its prompts, so another split costs
no run of the model: edges are put in order on each half, and the first of both orders compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.circuits.overlap import Parts, comparison_sizes, overlaps, parts_of
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.statistics import spearman
from circuitlapse.types import Level, Weighting

REACH = 4
"""Circuits are compared up to this many times the size of the circuit of all prompts."""


@dataclass(frozen=True, eq=False)
class Splits:
    """How much the circuits of two halves of the prompts have in common, split by split.

    Attributes:
        seed: that all splits follow from; None if there are none.
        sizes: numbers of edges taken for both circuits, before pruning; see `comparison_sizes`.
        overlap: of the two pruned circuits; NaN where both are empty. Levels and weightings are in
            the order of their enums.
        rank_correlation: Spearman's, of |score| over all edges.
    """

    seed: int | None
    sizes: Int[ndarray, " size"]
    overlap: Float[ndarray, "split size level weighting"]
    rank_correlation: Float[ndarray, " split"]

    @classmethod
    def none(cls) -> Splits:
        """Return the result for prompts that were not split."""
        shape = (0, 0, len(Level), len(Weighting))
        return cls(None, np.zeros(0, dtype=int), np.zeros(shape), np.zeros(0))


def compare_splits(
    graph: Graph,
    total: Float[ndarray, "source target"],
    first: Float[ndarray, "split source target"],
    *,
    how: str,
    n_edges: int,
    seed: int,
) -> Splits:
    """Compare the circuits of the halves of each split.

    Args:
        graph: of the model.
        total: scores summed over all prompts; a mean over a half has the same order of edges as
            the sum over it.
        first: the same over the first half of each split.
        how: `greedy`, `top_n` or `nodes`, see `edge_order`.
        n_edges: of the circuit of all prompts, before pruning.
        seed: that the splits follow from.
    """
    sizes = comparison_sizes(graph)
    sizes = sizes[sizes <= REACH * n_edges]
    overlap, correlation = [], []
    for one in first:
        halves = (one, total - one)
        parts = [_parts(EdgeScores(graph, half), sizes, how=how) for half in halves]
        overlap.append([overlaps(*pair) for pair in zip(*parts, strict=True)])
        correlation.append(spearman(*(np.abs(half[graph.exists]) for half in halves)))
    return Splits(seed, sizes, np.array(overlap), np.array(correlation))


def _parts(scores: EdgeScores, sizes: Int[ndarray, " size"], *, how: str) -> list[Parts]:
    order = edge_order(scores, how=how, first=int(sizes[-1]))
    return [parts_of(cut(scores.graph, order, int(size)), scores.values) for size in sizes]
