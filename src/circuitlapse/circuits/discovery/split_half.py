"""The same search on two halves of the prompts: what their choice alone does to a circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.discovery.search import Search
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.models.load import model_graph
from circuitlapse.types import MIN_PROMPTS, Status

_N_HALVES = 2


@dataclass(frozen=True, eq=False)
class Halves:
    """The circuits of two disjoint halves of the prompts, each found as that of all of them.

    Attributes:
        of_prompt: the half that each prompt is in, 0 or 1; -1 where there are no halves.
        seed: of the permutation that made them; None where there are none.
        scores: of every edge on each half; NaN where no edge exists or none was scored.
        in_circuit: the circuit of each half; empty without one.
        status: of each half; `too_few_prompts` where there are fewer than `MIN_PROMPTS`.
    """

    of_prompt: Int[ndarray, " prompt"]
    seed: int | None
    scores: Float[ndarray, "half source target"]
    in_circuit: Bool[ndarray, "half source target"]
    status: Sequence[Status]

    @classmethod
    def none(cls, graph: Graph, n_prompts: int) -> Halves:
        """Return no halves."""
        shape = (0, *graph.exists.shape)
        return cls(np.full(n_prompts, -1), None, np.zeros(shape), np.zeros(shape, bool), ())


def split_in_halves(n_prompts: int, *, seed: int) -> list[Int[ndarray, " row"]]:
    """Return which prompts are in either half, ascending; the first may have one more."""
    order = np.random.default_rng(seed).permutation(n_prompts)
    return [np.sort(part) for part in np.array_split(order, _N_HALVES)]


def score_by_halves(whole: Search) -> tuple[EdgeScores, Halves]:
    """Score all edges on all prompts, and find the circuits of two halves of them.

    A score is a mean over prompts, and what stands in for an edge comes from the same prompt. So
    the score on all prompts is the mean of those on the halves, by their numbers of prompts, and
    nothing is scored twice. Halves of fewer than `MIN_PROMPTS` prompts say too little, and are
    not searched.
    """
    graph, seed = model_graph(whole.model), whole.bootstrap.seed
    parts = split_in_halves(len(whole.pairs), seed=seed)
    of_prompt = np.zeros(len(whole.pairs), dtype=int)
    of_prompt[parts[1]] = 1
    counts = [len(rows) for rows in parts]
    if min(counts) < MIN_PROMPTS:
        shape = (_N_HALVES, *graph.exists.shape)
        status = [Status.TOO_FEW_PROMPTS] * _N_HALVES
        unscored = np.full(shape, np.nan)
        return whole.scores(), Halves(of_prompt, seed, unscored, np.zeros(shape, bool), status)
    found = [_search(whole.on(rows)) for rows in parts]
    scores, masks, statuses = (list(part) for part in zip(*found, strict=True))
    pooled = np.average(scores, axis=0, weights=counts)
    halves = Halves(of_prompt, seed, np.stack(scores), np.stack(masks), statuses)
    return EdgeScores(graph, pooled), halves


def _search(half: Search) -> tuple[ndarray, ndarray, Status]:
    scores = half.scores()
    found = half.smallest(scores)
    return scores.values, found.circuit.mask, found.status
