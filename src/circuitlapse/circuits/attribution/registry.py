"""The methods that score edges, by name: what `sum_edge_scores` calls for each `Method`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.attribution.edge_scores import (
    exact_scores,
    interpolated_line,
    summed_scores,
)
from circuitlapse.circuits.attribution.interpolation import Point, activation_scores, input_scores
from circuitlapse.circuits.attribution.query_key import query_key_scores
from circuitlapse.circuits.evaluation import evaluate_circuits
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import IgRule, Method


@dataclass(frozen=True, eq=False)
class Setup:
    """What a method gets: the arguments of `sum_edge_scores`, with the activations computed."""

    model: Decoder
    pairs: PromptPairs
    sets: Float[ndarray, "set pair"]
    activations: PairActivations
    metric: str
    ablation: str
    ig_steps: int
    ig_rule: str
    limits: Limits


Points = Callable[[Setup], Sequence[Point]]
"""Returns the points of the line from the ablated (0) to the clean (1) end, for gradients."""


def _exact(setup: Setup) -> Float[ndarray, "set source target"]:
    """Ablate each edge alone."""
    evaluate = partial(
        evaluate_circuits,
        setup.model,
        setup.pairs,
        metric=setup.metric,
        ablation=setup.ablation,
        activations=setup.activations,
        limits=setup.limits,
    )
    return exact_scores(model_graph(setup.model), evaluate, setup.sets, metric=setup.metric)


def _by_gradients(
    setup: Setup, *, points: Points, scores: Callable[..., Float[Tensor, "set source target"]]
) -> Float[ndarray, "set source target"]:
    """Multiply the change of each source by the mean gradient at points of a line."""
    line = interpolated_line(
        setup.model,
        setup.pairs,
        setup.activations,
        metric=setup.metric,
        ablation=setup.ablation,
        limits=setup.limits,
        sets=setup.sets,
    )
    return summed_scores(
        setup.model, line, scores=scores, points=points(setup), limits=setup.limits
    )


def _clean_end(_: Setup) -> list[Point]:
    return [Point(1.0)]  # the gradient of the clean run alone


def _both_ends(_: Setup) -> list[Point]:
    return [Point(0.0), Point(1.0)]  # the mean of the gradients of both ends


def spread(ig_steps: int, *, rule: str, left: float) -> list[Point]:
    """Return the points of an integration path.

    Args:
        ig_steps: number of intervals, m.
        rule: a member of `IgRule`, which says where the points lie.
        left: where in each interval those of `left` lie. The reference implementation takes
            0, 1/m, ..., (m-1)/m for inputs, but 1/m, ..., 1 for activations.
    """
    if rule == IgRule.TRAPEZOID:
        inner = [Point(k / ig_steps) for k in range(1, ig_steps)]
        return [Point(0.0, 0.5), *inner, Point(1.0, 0.5)]
    shift = 0.5 if rule == IgRule.MIDPOINT else left
    return [Point((k + shift) / ig_steps) for k in range(ig_steps)]


def _path(setup: Setup, *, left: float) -> list[Point]:
    return spread(setup.ig_steps, rule=setup.ig_rule, left=left)


_INPUTS, _ACTIVATIONS = partial(_path, left=0.0), partial(_path, left=1.0)
_OWN, _POOLED = (partial(activation_scores, pooled=pooled) for pooled in (False, True))

METHODS: Mapping[Method, Callable[[Setup], Float[ndarray, "set source target"]]] = {
    Method.EAP: partial(_by_gradients, points=_clean_end, scores=input_scores),
    Method.EAP_IG_INPUTS: partial(_by_gradients, points=_INPUTS, scores=input_scores),
    Method.EAP_IG_ACTIVATIONS: partial(_by_gradients, points=_ACTIVATIONS, scores=_OWN),
    Method.EAP_IG_ACTIVATIONS_POOLED: partial(_by_gradients, points=_ACTIVATIONS, scores=_POOLED),
    Method.CLEAN_CORRUPTED: partial(_by_gradients, points=_both_ends, scores=input_scores),
    Method.EAP_QK: partial(_by_gradients, points=_clean_end, scores=query_key_scores),
    Method.EXACT: _exact,
}
