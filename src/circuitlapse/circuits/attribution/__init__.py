"""Score every edge of the graph for one task."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.attribution.registry import METHODS, Setup
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models.activations import PairActivations, cache_activations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.graph import EdgeScores
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Circuits
from circuitlapse.types import IgRule, Method

__all__ = ["attribute_edges", "sum_edge_scores"]

_DEFAULTS = Circuits()


def attribute_edges(
    model: Model,
    pairs: PromptPairs,
    *,
    metric: str,
    method: str,
    ig_steps: int = _DEFAULTS.ig_steps,
    ig_rule: str = _DEFAULTS.ig_rule,
    ablation: str = "corrupted",
    limits: Limits = AUTOMATIC,
    activations: PairActivations | None = None,
) -> EdgeScores:
    """Score every edge: how much the metric is predicted to fall when it is ablated.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts; the score is a mean over them and does not depend on batching.
        metric: `logit_diff`, `prob_diff` or `kl_divergence`. The gradient of the last one
            vanishes at the clean prompt, so that `eap` finds nothing with it.
        method: a member of `types.Method`, or its value such as "eap_ig_inputs".
        ig_steps: intervals of each integration path (`eap_ig_*` only).
        ig_rule: where in them gradients are taken: `left` (as the reference), or `midpoint` or
            `trapezoid` (more accurate); see `types.IgRule`.
        ablation: `corrupted`, `zero` or `mean`; see `evaluate_circuits`.
        limits: how many prompts go through the model at once.
        activations: of these pairs; None computes them.

    Returns:
        Scores in units of the metric, [source, target], NaN where no edge exists. Gradients are
        summed in float32, prompts in float64.

    Raises:
        UnknownNameError: if metric, method, rule or ablation is unknown; the known ones are
            listed.
        ValueError: if `ig_steps` is below 1, or `activations` are of other prompts.

    Source: Hanna et al. 2024 (arXiv 2403.17806), Syed et al. 2023 (arXiv 2310.10348).
    """
    model = as_decoder(model)
    (total,) = sum_edge_scores(
        model,
        pairs,
        np.ones((1, len(pairs))),
        metric=metric,
        method=method,
        ig_steps=ig_steps,
        ig_rule=ig_rule,
        ablation=ablation,
        limits=limits,
        activations=activations,
    )
    return EdgeScores(model_graph(model), total / len(pairs))


def sum_edge_scores(
    model: Model,
    pairs: PromptPairs,
    sets: Float[ndarray, "set pair"],
    *,
    metric: str,
    method: str,
    ig_steps: int = _DEFAULTS.ig_steps,
    ig_rule: str = _DEFAULTS.ig_rule,
    ablation: str = "corrupted",
    limits: Limits = AUTOMATIC,
    activations: PairActivations | None = None,
) -> Float[ndarray, "set source target"]:
    """Score every edge once, and sum the scores over several sets of the pairs.

    A set costs little: a pair is scored once, and sums are added batch by batch, so that scores of
    single pairs are never kept.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        sets: how often each pair counts in each set; a row of ones sums over all pairs.
        metric: this and what follows as in `attribute_edges`, with the same errors.
        method: see there.
        ig_steps: see there.
        ig_rule: see there.
        ablation: see there; the mean of `mean` is over all `pairs`.
        limits: see there.
        activations: see there.

    Returns:
        Sums in float64, in units of the metric, [set, source, target]; NaN where no edge exists.
    """
    model = as_decoder(model)
    _check(method, ig_rule, ig_steps)
    if activations is None:
        activations = cache_activations(model, pairs, limits=limits)
    activations.check(pairs)
    setup = Setup(model, pairs, sets, activations, metric, ablation, ig_steps, ig_rule, limits)
    return np.where(model_graph(model).exists, METHODS[Method(method)](setup), np.nan)


def _check(method: str, ig_rule: str, ig_steps: int) -> None:
    if method not in METHODS:
        raise UnknownNameError(unknown_name("method", method, METHODS))
    if ig_rule not in set(IgRule):
        raise UnknownNameError(unknown_name("rule of integration", ig_rule, IgRule))
    if ig_steps < 1:
        raise ValueError(f"ig_steps must be at least 1, found {ig_steps}")
