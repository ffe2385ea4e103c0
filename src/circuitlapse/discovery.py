"""Find the circuit of one task in one model: scores, order, curve, smallest faithful one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import PairActivations
from circuitlapse.attribution import attribute_edges
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.evaluation import evaluate_circuits
from circuitlapse.faithfulness import (
    Curve,
    SearchSettings,
    does_the_task,
    find_smallest,
    size_interval,
)
from circuitlapse.metrics import per_prompt_metric
from circuitlapse.prompts import PromptPairs
from circuitlapse.rankings import RankingCurves, ranking_curves
from circuitlapse.records import CircuitRecord
from circuitlapse.scores import EdgeScores
from circuitlapse.selection import Circuit, cut, edge_order
from circuitlapse.statistics import Bootstrap
from circuitlapse.types import TASK_METRICS, Status

_NOTHING = (float("nan"), float("nan"))


@dataclass(frozen=True)
class DiscoverySettings:
    """How edges are scored and a circuit is chosen; see `attribute_edges`, `edge_order`."""

    method: str
    ig_steps: int
    ig_rule: str
    selection: str
    random_circuits: int
    search: SearchSettings
    bootstrap: Bootstrap

    @classmethod
    def from_config(
        cls, circuits: Mapping[str, Any], bootstrap: Mapping[str, Any]
    ) -> DiscoverySettings:
        """Return the settings of the sections `circuits` and `bootstrap` of a configuration."""
        names = {field.name for field in fields(SearchSettings)}
        search = SearchSettings(**{name: circuits[name] for name in names})
        how = {name: value for name, value in circuits.items() if name not in names}
        return cls(**how, search=search, bootstrap=Bootstrap(**bootstrap))


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found.

    Attributes:
        scores: of every edge.
        order: (source, target) of every edge, the most important first.
        status: whether there is a circuit, and how far to trust it.
        n_requested: edges taken before pruning; None without a circuit.
        circuit: the pruned circuit; empty without one.
        curve: the sizes tried; no size without behaviour.
        m_model, m_corrupted: metric of the model on clean and on corrupted prompts, scored
            with the clean answers [prompt].
        m_circuit: metric of the circuit [prompt]; NaN without one.
        rankings: circuits of fixed shares of the edges, ranked by score and at random.
    """

    scores: EdgeScores
    order: Int[ndarray, "edge 2"]
    status: Status
    n_requested: int | None
    circuit: Circuit
    curve: Curve
    m_model: Float[ndarray, " prompt"]
    m_corrupted: Float[ndarray, " prompt"]
    m_circuit: Float[ndarray, " prompt"]
    rankings: RankingCurves


def discover_circuit(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    activations: PairActivations,
    metric: str,
    settings: DiscoverySettings,
    batch_size: int | None = None,
    memory_mb: int | None = None,
) -> Discovery:
    """Score all edges, put them in order and find the smallest faithful circuit.

    Where the model does not do the task there is nothing for a circuit to be faithful to:
    the scores are kept, no circuit is sought.

    Args:
        model: from `load_model`.
        pairs: the prompts.
        activations: of these pairs.
        metric: `logit_diff` or `prob_diff`.
        settings: how edges are scored and a circuit is chosen.
        batch_size: see `attribute_edges`.
        memory_mb: likewise.

    Raises:
        UnknownNameError: if `metric` is not one that says how well a task is done.
    """
    if metric not in TASK_METRICS:
        raise UnknownNameError(unknown_name("metric of a task", metric, TASK_METRICS))
    shared: dict[str, Any] = {
        "metric": metric,
        "activations": activations,
        "batch_size": batch_size,
        "memory_mb": memory_mb,
    }
    scores = attribute_edges(
        model,
        pairs,
        method=settings.method,
        ig_steps=settings.ig_steps,
        ig_rule=settings.ig_rule,
        **shared,
    )
    order = edge_order(scores, how=settings.selection)
    m_model, m_corrupted = (
        per_prompt_metric(run.logits_end.float(), pairs, metric=metric).cpu().double().numpy()
        for run in (activations.clean, activations.corrupted)
    )
    if not does_the_task(m_model, m_corrupted, metric=metric, bootstrap=settings.bootstrap):
        return _without_circuit(scores, order, m_model, m_corrupted)

    def evaluate(circuits: list[Circuit]) -> Float[ndarray, "circuit prompt"]:
        return evaluate_circuits(model, pairs, circuits, **shared)

    return _search(scores, order, evaluate, m_model, m_corrupted, settings=settings)


def _search(
    scores: EdgeScores,
    order: Int[ndarray, "edge 2"],
    evaluate: Callable[[list[Circuit]], Float[ndarray, "circuit prompt"]],
    m_model: Float[ndarray, " prompt"],
    m_corrupted: Float[ndarray, " prompt"],
    *,
    settings: DiscoverySettings,
) -> Discovery:
    def curve_of(sizes: list[int]) -> Curve:
        circuits = [cut(scores.graph, order, size) for size in sizes]
        n_edges = np.array([circuit.n_edges for circuit in circuits])
        return Curve(np.array(sizes), n_edges, evaluate(circuits), m_model)

    curve, size, status = find_smallest(
        curve_of, n_edges=scores.graph.n_edges, settings=settings.search
    )
    return Discovery(
        scores=scores,
        order=order,
        status=status,
        n_requested=size,
        circuit=cut(scores.graph, order, size),
        curve=curve,
        m_model=m_model,
        m_corrupted=m_corrupted,
        m_circuit=curve.metric[int(np.searchsorted(curve.sizes, size))],
        rankings=ranking_curves(
            scores, evaluate, n_random=settings.random_circuits, seed=settings.bootstrap.seed
        ),
    )


def _without_circuit(
    scores: EdgeScores, order: ndarray, m_model: ndarray, m_corrupted: ndarray
) -> Discovery:
    no_size = np.zeros(0, dtype=int)
    return Discovery(
        scores=scores,
        order=order,
        status=Status.NO_BEHAVIOUR,
        n_requested=None,
        circuit=Circuit.empty(scores.graph),
        curve=Curve(no_size, no_size, np.zeros((0, len(m_model))), m_model),
        m_model=m_model,
        m_corrupted=m_corrupted,
        m_circuit=np.full(len(m_model), np.nan),
        rankings=RankingCurves.empty(len(m_model)),
    )


def record_of(
    found: Discovery, *, task: str, metric: str, settings: DiscoverySettings, **where: Any
) -> CircuitRecord:
    """Return what was found as plain arrays, with bootstrap intervals.

    Args:
        found: by `discover_circuit`.
        task: name of the task.
        metric: its metric.
        settings: that were used.
        where: model, variant, step and tokens.
    """
    graph = found.scores.graph
    order = np.full(graph.exists.shape, -1, dtype=np.int32)
    order[tuple(found.order.T)] = np.arange(len(found.order))
    exists = found.n_requested is not None
    return CircuitRecord(
        **where,
        task=task,
        metric=str(metric),
        method=settings.method,
        ig_steps=settings.ig_steps,
        ig_rule=settings.ig_rule,
        selection=settings.selection,
        threshold=settings.search.threshold,
        sources=graph.sources,
        targets=graph.targets,
        scores=found.scores.values,
        order=order,
        in_circuit=found.circuit.mask,
        status=str(found.status),
        n_requested=found.n_requested,
        m_model=found.m_model,
        m_corrupted=found.m_corrupted,
        m_circuit=found.m_circuit if exists else None,
        curve_n_requested=found.curve.sizes,
        curve_n_edges=found.curve.n_edges,
        curve_metric=found.curve.metric,
        **_rankings(found.rankings),
        **_intervals(found, settings),
    )


def _rankings(curves: RankingCurves) -> dict[str, Any]:
    parts = {f"ranking_{field.name}": getattr(curves, field.name) for field in fields(curves)}
    return {"ranking_name": parts.pop("ranking_ranking"), **parts}


def _intervals(found: Discovery, settings: DiscoverySettings) -> dict[str, Any]:
    """Return the ends of every bootstrap interval; NaN for what a circuit would be needed for."""
    bootstrap, threshold = settings.bootstrap, settings.search.threshold
    ends = {"m_model": bootstrap.mean(found.m_model), "f_raw": _NOTHING, "n_edges": _NOTHING}
    if found.n_requested is not None:
        ends["f_raw"] = bootstrap.ratio_of_means(found.m_circuit, found.m_model)
        ends["n_edges"] = size_interval(found.curve, threshold=threshold, bootstrap=bootstrap)
    return {
        f"{name}_{end}": value
        for name, pair in ends.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
