"""Scores by gradients, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.ablation import ablated_outputs
from circuitlapse.activations import PairActivations
from circuitlapse.attribution.gradients import Objective
from circuitlapse.attribution.interpolation import Line, activation_scores, input_scores
from circuitlapse.batching import Limits, in_batches
from circuitlapse.memory import bytes_kept, bytes_per_run
from circuitlapse.prompts import PromptPairs
from circuitlapse.types import Method


def interpolated_line(
    model: TransformerBridge,
    pairs: PromptPairs,
    activations: PairActivations,
    *,
    metric: str,
    ablation: str,
    limits: Limits,
) -> Line:
    """Return the clean and the ablated end of every interpolation, and the objective."""
    clean = activations.clean
    ablated = ablated_outputs(
        model, pairs, ablation=ablation, activations=activations, limits=limits
    )
    return Line(clean.outputs(model), ablated.outputs, Objective(pairs, metric, clean.logits_end))


def mean_scores(
    model: TransformerBridge,
    line: Line,
    *,
    method: str,
    fractions: Sequence[float],
    limits: Limits,
) -> Float[ndarray, "source target"]:
    """Return the mean score over prompts, in float64.

    Half of the memory is for what one pass holds, half for what is kept of all passes. Where
    that was too much, smaller batches take fewer runs at once, too.

    Args:
        model: from `load_model`.
        line: what is interpolated.
        method: one that takes gradients.
        fractions: points of the line.
        limits: prompts per pass.
    """
    (n_prompts, n_pos, _), device = line.clean.embed.shape, line.clean.embed.device
    kept = bytes_kept(model, n_pos=n_pos, n_runs=len(fractions))
    rows = limits.prompts(2 * bytes_per_run(model, n_pos=n_pos), device=device)
    size = min(rows, limits.prompts(2 * kept, device=device), n_prompts)

    def score(batch: slice) -> Float[Tensor, "source target"]:
        share = (batch.stop - batch.start) / size
        runs_at_once = max(1, int(share * min(rows // size, len(fractions))))
        part = line.batch(batch.start, batch.stop)
        return _sum(model, part, method=method, fractions=fractions, runs_at_once=runs_at_once)

    parts = in_batches(n_prompts, size=size, work=score, what="scoring edges")
    return (torch.stack(parts).sum(0) / n_prompts).numpy()


def _sum(
    model: TransformerBridge, line: Line, *, method: str, **how: Any
) -> Float[Tensor, "source target"]:
    if method in (Method.EAP_IG_ACTIVATIONS, Method.EAP_IG_ACTIVATIONS_POOLED):
        pooled = method == Method.EAP_IG_ACTIVATIONS_POOLED
        return activation_scores(model, line, pooled=pooled, **how)
    return input_scores(model, line, **how)
