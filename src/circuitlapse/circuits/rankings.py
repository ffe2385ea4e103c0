"""Faithfulness of circuits that hold a fixed share of the edges, ranked by score or at random.

The sizes and the two areas are those of the MIB benchmark (arXiv 2504.13151): CPR, the area
under normalised faithfulness over the share of edges (larger is better), and CMD, the area
between that curve and 1 (smaller is better). Published values rank edges by signed or by
absolute score; both are kept apart here. Random circuits of the same sizes are the control:
what any circuit of that size would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit, cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.types import Ranking, Selection

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which circuits are evaluated."""


@dataclass(frozen=True, eq=False)
class RankingCurves:
    """Circuits of every share of the edges for every ranking, one after the other.

    Attributes:
        ranking: `signed`, `absolute` or `random` [row].
        seed: of a random ranking; -1 for the others [row].
        fraction: share of all edges that was asked for [row].
        n_requested: edges taken [row].
        n_edges: edges left after pruning [row].
        metric: of the circuit [row, prompt].
    """

    ranking: Sequence[str]
    seed: Int[ndarray, " row"]
    fraction: Float[ndarray, " row"]
    n_requested: Int[ndarray, " row"]
    n_edges: Int[ndarray, " row"]
    metric: Float[ndarray, "row prompt"]

    @classmethod
    def empty(cls, n_prompts: int) -> RankingCurves:
        """Return curves without a row."""
        none, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls((), none, numbers, none, none, np.zeros((0, n_prompts)))


def ranking_curves(
    scores: EdgeScores,
    evaluate: Callable[[list[Circuit]], Float[ndarray, "circuit prompt"]],
    *,
    n_random: int,
    seed: int,
) -> RankingCurves:
    """Evaluate circuits of fixed shares of the edges, ranked by score and at random.

    Rankings by score take the strongest edges wherever they are, as the benchmark does. A
    random one grows from the logits along random scores: edges drawn anywhere would hardly
    ever connect, and a control should only lack the knowledge of which edges matter.

    Args:
        scores: rank the edges.
        evaluate: returns the metric of circuits.
        n_random: number of random rankings.
        seed: of the first random ranking; the next ones count up.
    """
    graph = scores.graph
    sizes = [int(fraction * graph.n_edges) for fraction in FRACTIONS]
    rankings = list(_rankings(scores, n_random=n_random, seed=seed))
    # Rows: all sizes of the first ranking, then all sizes of the next one.
    circuits = [cut(graph, order, size) for _, _, order in rankings for size in sizes]
    return RankingCurves(
        ranking=tuple(name for name, _, _ in rankings for _ in sizes),
        seed=np.repeat([number for _, number, _ in rankings], len(sizes)),
        fraction=np.tile(FRACTIONS, len(rankings)),
        n_requested=np.tile(sizes, len(rankings)),
        n_edges=np.array([circuit.n_edges for circuit in circuits]),
        metric=evaluate(circuits),  # [row, prompt], all circuits in one call, which shares work
    )


def _rankings(
    scores: EdgeScores, *, n_random: int, seed: int
) -> Iterator[tuple[str, int, Int[ndarray, "edge 2"]]]:
    for ranking in (Ranking.SIGNED, Ranking.ABSOLUTE):
        signed = ranking == Ranking.SIGNED
        yield str(ranking), -1, edge_order(scores, how=Selection.TOP_N, signed=signed)
    for number in range(seed, seed + n_random):
        yield str(Ranking.RANDOM), number, random_order(scores.graph, seed=number)


def random_order(graph: Graph, *, seed: int) -> Int[ndarray, "edge 2"]:
    """Return the edges in an order that grows from the logits along random scores."""
    drawn = np.random.default_rng(seed).random(graph.exists.shape)  # [source, target]
    # Positive, so that the greedy order by |score| is a random one.
    chance = EdgeScores(graph, np.where(graph.exists, drawn, np.nan))
    return edge_order(chance, how=Selection.GREEDY)


def areas(
    fraction: Float[ndarray, " size"], f_norm: Float[ndarray, " size"]
) -> tuple[float, float]:
    """Return CPR and CMD of one curve, by the trapezoid rule over the share of edges."""
    cpr = np.trapezoid(f_norm, fraction)  # in 0..1 if faithfulness is
    return float(cpr), float(np.trapezoid(np.abs(1 - f_norm), fraction))
