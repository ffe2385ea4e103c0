"""Faithfulness of circuits that hold a fixed share of the edges, ranked by score or at random.

The sizes and the two areas are those of the MIB benchmark (arXiv 2504.13151): CPR, the area
under normalised faithfulness over the share of edges (larger is better), and CMD, the area
between that curve and 1 (smaller is better). Published values rank edges by signed or by
absolute score; both are kept apart here. Random circuits of the same sizes are the control:
what any circuit of that size would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit, cut, edge_order
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.types import Ranking, Selection

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which circuits are evaluated."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """Circuits of every share of the edges for some rankings, all of one before the next.

    Attributes:
        graph: of the model.
        ranking: `signed`, `absolute` or `random`, once per ranking.
        seed: of a random ranking; -1 for the others.
        circuits: of all shares of the edges [ranking * size].
    """

    graph: Graph
    ranking: Sequence[str]
    seed: Sequence[int]
    circuits: Sequence[Circuit]


@dataclass(frozen=True, eq=False)
class RankingCurves:
    """The metric of ranked circuits; rows are in the order of `Ranked`.

    Attributes:
        ranking: `signed`, `absolute` or `random` [row].
        seed: of a random ranking; -1 for the others [row].
        fraction: share of all edges that was asked for [row].
        n_requested: edges taken [row].
        n_edges: edges left after pruning [row].
        metric: of the circuit [row, prompt].
        held_out: whether no edge was ranked by a prompt that its circuit runs on [row].
    """

    ranking: Sequence[str]
    seed: Int[ndarray, " row"]
    fraction: Float[ndarray, " row"]
    n_requested: Int[ndarray, " row"]
    n_edges: Int[ndarray, " row"]
    metric: Float[ndarray, "row prompt"]
    held_out: Bool[ndarray, " row"]

    @classmethod
    def empty(cls, n_prompts: int) -> RankingCurves:
        """Return curves without a row."""
        none, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        metric = np.zeros((0, n_prompts))
        return cls((), none, numbers, none, none, metric, np.zeros(0, dtype=bool))

    @classmethod
    def of(
        cls, ranked: Ranked, metric: Float[ndarray, "row prompt"], *, held_out: bool
    ) -> RankingCurves:
        """Return the curves of circuits with a known metric."""
        n_rankings, sizes = len(ranked.ranking), _sizes(ranked.graph)
        return cls(
            ranking=tuple(name for name in ranked.ranking for _ in sizes),
            seed=np.repeat(np.array(ranked.seed, dtype=np.int64), len(sizes)),
            fraction=np.tile(FRACTIONS, n_rankings),
            n_requested=np.tile(sizes, n_rankings),
            n_edges=np.array([one.n_edges for one in ranked.circuits], dtype=np.int64),
            metric=metric,
            held_out=np.full(len(ranked.circuits), held_out),
        )

    @classmethod
    def joined(cls, parts: Iterable[RankingCurves]) -> RankingCurves:
        """Return curves of the same prompts, one after the other."""
        parts = list(parts)
        names = tuple(name for part in parts for name in part.ranking)
        arrays = ("seed", "fraction", "n_requested", "n_edges", "metric", "held_out")
        return cls(names, *(np.concatenate([getattr(p, a) for p in parts]) for a in arrays))


def ranked_by_score(scores: EdgeScores) -> Ranked:
    """Take the strongest edges wherever they are, as the benchmark does."""
    orders = [
        edge_order(scores, how=Selection.TOP_N, signed=ranking == Ranking.SIGNED)
        for ranking in (Ranking.SIGNED, Ranking.ABSOLUTE)
    ]
    names = (str(Ranking.SIGNED), str(Ranking.ABSOLUTE))
    return Ranked(scores.graph, names, (-1, -1), _cut(scores.graph, orders))


def ranked_at_random(graph: Graph, *, n_random: int, seed: int) -> Ranked:
    """Grow circuits from the logits along random scores.

    Edges drawn anywhere would hardly ever connect, and a control should only lack the knowledge of
    which edges matter.

    Args:
        graph: of the model.
        n_random: number of random rankings.
        seed: of the first random ranking; the next ones count up.
    """
    seeds = tuple(range(seed, seed + n_random))
    orders = [random_order(graph, seed=number) for number in seeds]
    return Ranked(graph, (str(Ranking.RANDOM),) * n_random, seeds, _cut(graph, orders))


def random_order(
    graph: Graph,
    *,
    seed: int | np.random.Generator,
    how: str = Selection.GREEDY,
    first: int | None = None,
) -> Int[ndarray, "edge 2"]:
    """Return the edges in an order by random scores; `greedy` grows from the logits along them.

    Args:
        graph: of the model.
        seed: of the scores, or the generator that draws them.
        how: `greedy`, `top_n` or `nodes`, see `edge_order`.
        first: return only so many edges; None returns all.
    """
    drawn = np.random.default_rng(seed).random(graph.exists.shape)  # [source, target]
    if how == Selection.NODES:  # the score of a node is a sum: not larger where it has more edges
        drawn = drawn[:, -1:] / graph.exists.sum(axis=1, keepdims=True)
    # Positive, so that the order by |score| is a random one.
    chance = EdgeScores(graph, np.where(graph.exists, drawn, np.nan))
    return edge_order(chance, how=how, first=first)


def _cut(graph: Graph, orders: Sequence[Int[ndarray, "edge 2"]]) -> list[Circuit]:
    return [cut(graph, order, size) for order in orders for size in _sizes(graph)]


def _sizes(graph: Graph) -> list[int]:
    return [int(fraction * graph.n_edges) for fraction in FRACTIONS]


def areas(
    fraction: Float[ndarray, " size"], f_norm: Float[ndarray, " size"]
) -> tuple[float, float]:
    """Return CPR and CMD of one curve, by the trapezoid rule over the share of edges."""
    cpr = np.trapezoid(f_norm, fraction)  # in 0..1 if faithfulness is
    return float(cpr), float(np.trapezoid(np.abs(1 - f_norm), fraction))
