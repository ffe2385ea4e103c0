"""Find a small faithful circuit of a task in a model."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.discovery.certificates import certify
from circuitlapse.circuits.discovery.found import Discovery, record_of
from circuitlapse.circuits.discovery.held_out import HeldOut, hold_out
from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.discovery.split_half import SplitHalf, search_split_half
from circuitlapse.circuits.discovery.splits import Splits, compare_splits
from circuitlapse.circuits.rankings import RankingCurves, ranked_at_random, ranked_by_score
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.graph import EdgeScores
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import first_halves
from circuitlapse.types import MIN_PROMPTS, TASK_METRICS

__all__ = ["Discovery", "SplitHalf", "discover_circuit", "record_of"]


def discover_circuit(
    model: Model,
    pairs: PromptPairs,
    *,
    activations: PairActivations,
    metric: str,
    settings: Circuits,
    bootstrap: Bootstrap,
    limits: Limits = AUTOMATIC,
) -> Discovery:
    """Score all edges, put them in order and find a small faithful circuit.

    If the model does not do the task, only the scores are kept: there is nothing that a circuit
    could be faithful to. With `settings.noise_floor` the search is repeated on two halves of the
    prompts, which costs about as much as one more search, and what each half found is run on the
    other half (`held_out`) and tested there (`certificates`). The scores of the prompts are split
    in `settings.splits` other ways, which costs little.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        activations: of these pairs.
        metric: `logit_diff` or `prob_diff`.
        settings: how edges are scored and a circuit is chosen.
        bootstrap: for the question whether the model does the task; its seed also draws the
            halves, the splits and the random rankings.
        limits: how many prompts go through the model at once.

    Raises:
        UnknownNameError: if `metric` is unknown, or `kl_divergence`, which no task has.
    """
    model = as_decoder(model)
    if metric not in TASK_METRICS:
        raise UnknownNameError(unknown_name("metric of a task", metric, TASK_METRICS))
    search = Search(model, pairs, activations, metric, settings, bootstrap, limits)
    scores, split_half, halves = _score(search)
    found = search.small_circuit(scores)
    held_out = hold_out(search, split_half, found.curve.sizes)
    return Discovery(
        scores=scores,
        **found._asdict(),
        m_model=search.m_model,
        m_corrupted=search.m_corrupted,
        groups=pairs.groups,
        rankings=_rankings(search, scores, held_out),
        split_half=split_half,
        held_out=held_out,
        certificates=certify(search, split_half, held_out),
        splits=_splits(search, scores, halves, n_edges=found.n_requested),
    )


_Sums = Float[ndarray, "split source target"]


def _score(search: Search) -> tuple[EdgeScores, SplitHalf, _Sums]:
    """Return the scores, the circuits of two halves, and the score sums of many other halves."""
    n_prompts, graph = len(search.pairs), model_graph(search.model)
    if not (search.settings.noise_floor and search.does_the_task):
        return search.scores(), SplitHalf.none(graph, n_prompts), np.zeros((0, *graph.exists.shape))
    n_splits = search.settings.splits
    if search.pairs.n_groups < 2 * MIN_PROMPTS:
        n_splits = 0
    first = first_halves(search.pairs.groups, n_splits=n_splits, seed=search.bootstrap.seed)
    sums, split_half = search_split_half(search, np.vstack([np.ones(n_prompts), first]))
    return EdgeScores(graph, sums[0] / n_prompts), split_half, sums[1:]


def _splits(search: Search, scores: EdgeScores, halves: _Sums, *, n_edges: int | None) -> Splits:
    if n_edges is None or not len(halves):
        return Splits.none()
    total = scores.values * len(search.pairs)
    selection, seed = search.settings.order, search.bootstrap.seed
    return compare_splits(scores.graph, total, halves, how=selection, n_edges=n_edges, seed=seed)


def _rankings(search: Search, scores: EdgeScores, held_out: HeldOut) -> RankingCurves:
    """Return held-out rankings by score, or on the same prompts without halves; and random ones."""
    if not search.does_the_task:
        return RankingCurves.empty(len(search.pairs))
    random = ranked_at_random(
        scores.graph, n_random=search.settings.random_circuits, seed=search.bootstrap.seed
    )
    by_score = held_out.rankings
    if by_score is None:
        ranked = ranked_by_score(scores)
        by_score = RankingCurves.of(ranked, search.evaluate(ranked.circuits), held_out=False)
    chance = RankingCurves.of(random, search.evaluate(random.circuits), held_out=True)
    return RankingCurves.joined([by_score, chance])
