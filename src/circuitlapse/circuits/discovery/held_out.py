"""Held-out faithfulness: edges are scored and chosen on one half of the prompts, run on the other.

Circuits that are found and tested on the same prompts look better than they are: of many edges
with noisy scores, those are taken that happen to help on these prompts. So every prompt is run with
what the other half found (cross-fitting): its circuit, the circuits of other sizes along its order
of edges, and the rankings of the benchmark. Together these are held-out numbers of all prompts.
A half has half of the prompts, so its circuit is a little worse than that of all prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.discovery.split_half import SplitHalf
from circuitlapse.circuits.rankings import FRACTIONS, RankingCurves, ranked_by_score
from circuitlapse.circuits.selection import Circuit, cut, edge_order
from circuitlapse.models.graph import EdgeScores
from circuitlapse.models.load import model_graph
from circuitlapse.types.status import HeldOutStatus, Status


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the circuits and scores of each half do on the prompts of the other half.

    Attributes:
        status: whether both halves have a circuit.
        metric: of the other half's circuit [prompt]; NaN where that half has none.
        curve: of circuits along the other half's order of edges, by size [size, prompt]; NaN where
            no half was scored.
        rankings: circuits of fixed shares of the edges, ranked by the other half's scores; None
            where no half was scored.
    """

    status: HeldOutStatus
    metric: Float[ndarray, " prompt"]
    curve: Float[ndarray, "size prompt"]
    rankings: RankingCurves | None


def hold_out(whole: Search, split: SplitHalf, sizes: Int[ndarray, " size"]) -> HeldOut:
    """Run what each half found on the other half.

    Args:
        whole: the search on all prompts.
        split: its halves.
        sizes: requested edges of the circuits of the curve.
    """
    n_prompts, status = len(whole.pairs), _status(whole, split)
    metric, curve = np.full(n_prompts, np.nan), np.full((len(sizes), n_prompts), np.nan)
    if status == HeldOutStatus.TOO_FEW_PROMPTS or not split.status:  # no half was scored
        return HeldOut(status, metric, curve, None)
    graph, ranked = model_graph(whole.model), []
    by_share = np.full((2 * len(FRACTIONS), n_prompts), np.nan)
    for half in (0, 1):
        rows, other = np.flatnonzero(split.of_prompt == half), 1 - half
        scores = EdgeScores(graph, split.scores[other])
        order = edge_order(scores, how=whole.settings.order)
        own = Circuit(graph, split.in_circuit[other])
        nested = [cut(graph, order, n) for n in sizes.tolist()]
        ranked.append(ranked_by_score(scores))
        # All in one call, which shares what circuits have in common; [circuit, row]
        found = whole.on(rows).evaluate([own, *nested, *ranked[-1].circuits])
        if split.status[other] != Status.NO_BEHAVIOUR:
            metric[rows] = found[0]
        curve[:, rows] = found[1 : 1 + len(sizes)]
        by_share[:, rows] = found[1 + len(sizes) :]
    curves = [RankingCurves.of(part, by_share, held_out=True) for part in ranked]
    # The circuits of the two halves have about the same size after pruning.
    n_edges = np.mean([part.n_edges for part in curves], axis=0).round().astype(int)
    return HeldOut(status, metric, curve, replace(curves[0], n_edges=n_edges))


def _status(whole: Search, split: SplitHalf) -> HeldOutStatus:
    if not whole.does_the_task:
        return HeldOutStatus.NO_BEHAVIOUR
    if not split.status:
        return HeldOutStatus.NO_HALVES
    for reason in (Status.TOO_FEW_PROMPTS, Status.NO_BEHAVIOUR):
        if reason in split.status:
            return HeldOutStatus(str(reason))
    return HeldOutStatus.OK
