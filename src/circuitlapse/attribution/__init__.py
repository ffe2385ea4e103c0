"""Score every edge of the graph for one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.ablation import ablated_outputs
from circuitlapse.activations import PairActivations, cache_activations
from circuitlapse.attribution.exact import exact_scores
from circuitlapse.attribution.gradients import Objective
from circuitlapse.attribution.interpolation import (
    Line,
    activation_scores,
    clean_fractions,
    input_scores,
)
from circuitlapse.batching import Limits, in_batches
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.evaluation import evaluate_circuits
from circuitlapse.memory import bytes_kept, bytes_per_run
from circuitlapse.models import model_graph
from circuitlapse.prompts import PromptPairs
from circuitlapse.scores import EdgeScores
from circuitlapse.selection import Circuit
from circuitlapse.types import IgRule, Method

__all__ = ["attribute_edges"]


def attribute_edges(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    metric: str,
    method: str,
    ig_steps: int = 30,
    ig_rule: str = "left",
    ablation: str = "corrupted",
    batch_size: int | None = None,
    memory_mb: int | None = None,
    activations: PairActivations | None = None,
) -> EdgeScores:
    """Score every edge: how much the metric is predicted to fall when it is ablated.

    Args:
        model: from `load_model`.
        pairs: the prompts; the score is a mean over them and does not depend on batching.
        metric: `logit_diff`, `prob_diff` or `kl_divergence`. The gradient of the last one
            vanishes at the clean prompt, so that `eap` finds nothing with it.
        method: `eap`, `eap_ig_inputs`, `eap_ig_activations` (gradients averaged over the runs
            in which the edge's own source was interpolated), `eap_ig_activations_pooled`
            (over those of all sources, as the reference implementation), `clean_corrupted`,
            or `exact` (one pass per edge).
        ig_steps: points of each integration path (`eap_ig_*` only).
        ig_rule: `left` (as the reference) or `midpoint` (more accurate).
        ablation: `corrupted`, `zero` or `mean`; see `evaluate_circuits`.
        batch_size: prompts per pass; None takes as many as fit in `memory_mb`.
        memory_mb: None takes most of the free memory of a GPU, 500 MB on a CPU.
        activations: of these pairs, when they are at hand; otherwise they are computed.

    Returns:
        Scores in units of the metric, [source, target], NaN where no edge exists.

    Raises:
        UnknownNameError: if metric, method, rule or ablation is unknown; the known ones are
            listed.
        ValueError: if `ig_steps` is below 1.

    Source: Hanna et al. 2024 (arXiv 2403.17806), Syed et al. 2023 (arXiv 2310.10348).
    """
    if method not in set(Method):
        raise UnknownNameError(unknown_name("method", method, Method))
    if ig_rule not in set(IgRule):
        raise UnknownNameError(unknown_name("rule of integration", ig_rule, IgRule))
    if ig_steps < 1:
        raise ValueError(f"ig_steps must be at least 1, found {ig_steps}")
    graph = model_graph(model)
    if method == Method.EXACT:

        def evaluate(circuits: list[Circuit]) -> Float[ndarray, "circuit pair"]:
            return evaluate_circuits(
                model,
                pairs,
                circuits,
                metric=metric,
                ablation=ablation,
                activations=activations,
                batch_size=batch_size,
                memory_mb=memory_mb,
            )

        values = exact_scores(graph, evaluate, metric=metric)
    else:
        limits = Limits(batch_size, memory_mb)
        line = _line(model, pairs, activations, metric=metric, ablation=ablation, limits=limits)
        fractions = clean_fractions(method, ig_steps, ig_rule)
        values = _mean_scores(model, line, method=method, fractions=fractions, limits=limits)
    return EdgeScores(graph, np.where(graph.exists, values, np.nan))


def _line(
    model: TransformerBridge,
    pairs: PromptPairs,
    activations: PairActivations | None,
    *,
    metric: str,
    ablation: str,
    limits: Limits,
) -> Line:
    runs = activations or cache_activations(model, pairs, **limits._asdict())
    ablated = ablated_outputs(model, pairs, ablation=ablation, activations=runs, limits=limits)
    objective = Objective(pairs, metric, runs.clean.logits_end)
    return Line(runs.clean.outputs(model), ablated.outputs, objective)


def _mean_scores(
    model: TransformerBridge,
    line: Line,
    *,
    method: str,
    fractions: Sequence[float],
    limits: Limits,
) -> Float[ndarray, "source target"]:
    """Return the mean over prompts, in float64.

    Half of the memory is for what one pass holds, half for what is kept of all passes.
    """
    n_prompts, n_pos, _ = line.clean.embed.shape
    device = line.clean.embed.device
    kept_bytes = bytes_kept(model, n_pos=n_pos, n_runs=len(fractions))
    kept = limits.prompts(2 * kept_bytes, device=device)
    rows = limits.prompts(2 * bytes_per_run(model, n_pos=n_pos), device=device)

    def score(batch: slice) -> Float[Tensor, "source target"]:
        part, runs_at_once = line.batch(batch.start, batch.stop), rows // (batch.stop - batch.start)
        how: dict[str, Any] = {"fractions": fractions, "runs_at_once": max(1, runs_at_once)}
        if method in (Method.EAP_IG_ACTIVATIONS, Method.EAP_IG_ACTIVATIONS_POOLED):
            pooled = method == Method.EAP_IG_ACTIVATIONS_POOLED
            return activation_scores(model, part, pooled=pooled, **how)
        return input_scores(model, part, **how)

    parts = in_batches(n_prompts, size=min(rows, kept), work=score, what="scoring edges")
    return (torch.stack(parts).sum(0) / n_prompts).numpy()
