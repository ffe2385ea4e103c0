"""Circuits that are searched on two halves of the prompts, one search each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.discovery.search import Search
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.models.load import model_graph
from circuitlapse.statistics import split_prompts
from circuitlapse.types import MIN_PROMPTS
from circuitlapse.types.status import Status

_N_HALVES = 2


@dataclass(frozen=True, eq=False)
class SplitHalf:
    """The circuits of two disjoint halves of the prompts, each found like that of all prompts.

    How much they differ shows how much the choice of prompts alone changes a circuit.

    Attributes:
        of_prompt: the half that each prompt is in, 0 or 1; -1 if the prompts were not split.
        seed: of the permutation that split the prompts; None if they were not split.
        scores: of every edge on each half; NaN where no edge exists or none was scored.
        in_circuit: the circuit of each half; no edges if there is none.
        status: of each half; `too_few_prompts` where it has fewer than `MIN_PROMPTS` groups of
            prompts.
    """

    of_prompt: Int[ndarray, " prompt"]
    seed: int | None
    scores: Float[ndarray, "half source target"]
    in_circuit: Bool[ndarray, "half source target"]
    status: Sequence[Status]

    @classmethod
    def none(cls, graph: Graph, n_prompts: int) -> SplitHalf:
        """Return the result for prompts that were not split."""
        shape = (0, *graph.exists.shape)
        return cls(np.full(n_prompts, -1), None, np.zeros(shape), np.zeros(shape, bool), ())


def search_split_half(
    whole: Search, sets: Float[ndarray, "set prompt"]
) -> tuple[Float[ndarray, "set source target"], SplitHalf]:
    """Sum edge scores over sets of prompts, and find the circuits of two halves of all prompts.

    An ablated edge carries an output of the same prompt. So a sum over prompts is that over the
    halves together, and no prompt is scored twice. Halves of fewer than `MIN_PROMPTS` groups are
    not searched.
    """
    graph, seed = model_graph(whole.model), whole.bootstrap.seed
    parts = split_prompts(whole.pairs.groups, seed=seed)
    of_prompt = np.zeros(len(whole.pairs), dtype=int)
    of_prompt[parts[1]] = 1
    if whole.pairs.n_groups // _N_HALVES < MIN_PROMPTS:
        shape = (_N_HALVES, *graph.exists.shape)
        status = [Status.TOO_FEW_PROMPTS] * _N_HALVES
        unscored = np.full(shape, np.nan)  # [half, source, target]
        return whole.sums(sets), SplitHalf(of_prompt, seed, unscored, np.zeros(shape, bool), status)
    total = np.zeros((len(sets), *graph.exists.shape))
    scores, found = [], []
    for rows in parts:
        half = whole.on(rows)
        # The half itself, and what it adds to each set.
        own, *others = half.sums(np.vstack([np.ones(len(rows)), sets[:, rows]]))
        total += others
        scores.append(own / len(rows))
        found.append(half.small_circuit(EdgeScores(graph, scores[-1])))
    masks, statuses = [one.circuit.mask for one in found], [one.status for one in found]
    return total, SplitHalf(of_prompt, seed, np.stack(scores), np.stack(masks), statuses)
