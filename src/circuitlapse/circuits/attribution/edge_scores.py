"""Scores summed over sets of prompts: by gradients, batch by batch, or exactly, edge by edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.attribution.gradients import Objective
from circuitlapse.circuits.attribution.interpolation import Line, Point
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.ablation import ablated_outputs
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import (
    Limits,
    bytes_kept,
    bytes_per_run,
    even_size,
    in_batches_of_runs,
    refuse_beyond_memory,
)
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import model_graph
from circuitlapse.models.metrics import loss_sign
from circuitlapse.models.prompts import PromptPairs

AT_ONCE = 64
"""Circuits per call; each differs from the whole model in one edge and shares most of it."""


def exact_scores(
    graph: Graph,
    evaluate: Callable[[list[Circuit]], Float[ndarray, "circuit pair"]],
    sets: Float[ndarray, "set pair"],
    *,
    metric: str,
) -> Float[ndarray, "set source target"]:
    """Return how much the loss grows when each edge alone is ablated, summed over sets of pairs.

    Takes up to one forward pass per edge, so it is for small models and tests.

    Args:
        graph: of the model.
        evaluate: returns the metric of circuits.
        sets: how often each pair counts in each set.
        metric: decides the sign.
    """
    whole = evaluate([Circuit.full(graph)])  # [1, pair]
    edges = np.argwhere(graph.exists)  # [edge, 2], source and target
    scores = np.zeros((len(sets), *graph.exists.shape))
    for start in range(0, len(edges), AT_ONCE):
        part = edges[start : start + AT_ONCE]
        without = evaluate([_without(graph, edge) for edge in part])  # [edge, pair]
        scores[:, *part.T] = loss_sign(metric) * (sets @ (without - whole).T)
    return scores


def _without(graph: Graph, edge: Int[ndarray, "2"]) -> Circuit:
    mask = graph.exists.copy()  # [source, target]
    mask[tuple(edge)] = False
    return Circuit(graph, mask)


def interpolated_line(
    model: Decoder,
    pairs: PromptPairs,
    activations: PairActivations,
    *,
    metric: str,
    ablation: str,
    limits: Limits,
    sets: Float[ndarray, "set pair"] | None = None,
) -> Line:
    """Return the clean and the ablated end of every interpolation, and the objective.

    `sets` says how often each pair counts in each set that scores are summed over; None is one set
    of all pairs.
    """
    clean = activations.clean
    ablated = ablated_outputs(
        model, pairs, ablation=ablation, activations=activations, limits=limits
    )
    counts = torch.as_tensor(np.ones((1, len(pairs))) if sets is None else sets)
    counts = counts.to(clean.logits_end.device, torch.float64)
    objective = Objective(pairs, metric, clean.logits_end)
    return Line(clean.outputs(model), ablated.outputs, objective, counts)


def summed_scores(
    model: Decoder,
    line: Line,
    *,
    scores: Callable[..., Float[Tensor, "set source target"]],
    points: Sequence[Point],
    limits: Limits,
) -> Float[ndarray, "set source target"]:
    """Return scores summed over the sets of prompts of the line, in float64.

    Half of the memory is for what one pass holds, half for what is kept of all passes. Where
    that was too much, smaller batches take fewer runs at once, too.

    Args:
        model: the decoder.
        line: what is interpolated, and the sets.
        scores: `input_scores` or `activation_scores`.
        points: of the line.
        limits: prompts per pass.
    """
    # `rows`: runs of one prompt that fit into one pass. `size`: prompts scored together, of which
    # something of every run is kept until the last one is done.
    (n_prompts, n_pos, _), device = line.clean.embed.shape, line.clean.embed.device
    refuse_beyond_memory(model, n_pos=n_pos, limits=limits)
    kept = bytes_kept(model, n_pos=n_pos, n_runs=len(points))
    rows = limits.prompts(2 * bytes_per_run(model, n_pos=n_pos), device=device)
    size = even_size(n_prompts, min(rows, limits.prompts(2 * kept, device=device)))

    total = torch.zeros(len(line.sets), *model_graph(model).exists.shape, dtype=torch.float64)

    def score(batch: slice, runs: int) -> None:
        share = (batch.stop - batch.start) / size  # a half after memory ran out
        part = line.batch(batch.start, batch.stop)
        # Added once the batch is done: one that runs out of memory is tried again in parts.
        total.add_(scores(model, part, points=points, runs_at_once=math.ceil(share * runs)))

    runs = min(rows // size, len(points))
    in_batches_of_runs(n_prompts, size=size, runs=runs, work=score, what="scoring edges")
    return total.numpy()
