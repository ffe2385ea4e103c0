"""Score every edge of the graph for one task."""

from __future__ import annotations

import numpy as np
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import PairActivations, cache_activations
from circuitlapse.attribution.exact import exact_scores
from circuitlapse.attribution.interpolation import clean_fractions, interpolated_scores
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models import model_graph
from circuitlapse.prompts import PromptPairs
from circuitlapse.scores import EdgeScores
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
    batch_size: int | None = None,
    activations: PairActivations | None = None,
) -> EdgeScores:
    """Score every edge: how much the metric is predicted to fall when it is corrupted.

    Args:
        model: from `load_model`.
        pairs: the prompts; the score is a mean over them and does not depend on batching.
        metric: `logit_diff` or `prob_diff`.
        method: `eap`, `eap_ig_inputs`, `clean_corrupted` or `exact`.
        ig_steps: points of the integration path (`eap_ig_inputs` only).
        ig_rule: `left` (as the reference) or `midpoint` (more accurate).
        batch_size: prompts per pass; None takes all at once.
        activations: of these pairs, when they are at hand; otherwise they are computed.

    Returns:
        Scores in units of the metric, [source, target], NaN where no edge exists.

    Raises:
        UnknownNameError: if metric, method or rule is unknown; the known ones are listed.

    Source: Hanna et al. 2024 (arXiv 2403.17806), Syed et al. 2023 (arXiv 2310.10348).
    """
    if method not in set(Method):
        raise UnknownNameError(unknown_name("method", method, Method))
    if ig_rule not in set(IgRule):
        raise UnknownNameError(unknown_name("rule of integration", ig_rule, IgRule))
    if activations is None:
        activations = cache_activations(model, pairs, batch_size=batch_size)
    graph = model_graph(model)
    if method == Method.EXACT:
        values = exact_scores(
            model, pairs, activations=activations, metric=metric, batch_size=batch_size
        )
    else:
        fractions = clean_fractions(method, ig_steps, ig_rule)
        values = interpolated_scores(
            model,
            pairs,
            activations=activations,
            metric=metric,
            fractions=fractions,
            batch_size=batch_size,
        ).numpy()
    return EdgeScores(graph, np.where(graph.exists, values, np.nan))
