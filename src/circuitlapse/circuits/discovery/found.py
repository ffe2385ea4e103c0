"""The result of a circuit search, and its record as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.circuits.discovery.certificates import (
    Certificates,
    Equivalence,
    Independence,
    equivalence,
    independence,
)
from circuitlapse.circuits.discovery.completeness import incompleteness
from circuitlapse.circuits.discovery.held_out import HeldOut
from circuitlapse.circuits.discovery.split_half import SplitHalf
from circuitlapse.circuits.discovery.splits import Splits
from circuitlapse.circuits.faithfulness import Curve, size_interval
from circuitlapse.circuits.rankings import RankingCurves
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import EdgeScores
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import mean_interval, ratio_interval
from circuitlapse.types.status import CertificateStatus, HeldOutStatus, Status

_NOTHING = (float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Discovery:
    """The result of `discover_circuit`.

    Attributes:
        scores: of every edge.
        order: (source, target) of every edge, the most important first.
        status: whether there is a circuit, and whether it passed the threshold.
        n_requested: edges taken before pruning; None without a circuit.
        circuit: the pruned circuit; empty without one.
        curve: faithfulness of every size tried; none where the model does not do the task.
        m_model, m_corrupted: metric of the model on clean and on corrupted prompts, scored
            with the clean answers [prompt].
        m_circuit: metric of the circuit [prompt]; NaN without one.
        n_eliminated: edges that were dropped because it does not need them; None without
            `eliminate` or without a faithful circuit.
        groups: of the prompts, see `PromptPairs`.
        rankings: circuits of fixed shares of the edges, ranked by score and at random.
        split_half: the circuits of two halves of the prompts; none where the model does not do
            the task, or where `noise_floor` is off.
        held_out: what each half found, run on the other half.
        certificates: what tests of the circuits of the halves need.
        splits: the overlap of other halves, split by split; likewise.
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
    n_eliminated: int | None
    groups: Int[ndarray, " prompt"]
    rankings: RankingCurves
    split_half: SplitHalf
    held_out: HeldOut
    certificates: Certificates
    splits: Splits


def record_of(
    found: Discovery,
    *,
    task: str,
    metric: str,
    settings: Circuits,
    bootstrap: Bootstrap,
    **where: Any,
) -> CircuitRecord:
    """Return the result as plain arrays, with bootstrap intervals.

    Args:
        found: by `discover_circuit`.
        task: name of the task.
        metric: its metric.
        settings: those that the circuit was found with.
        bootstrap: for the intervals.
        where: model, variant, step and tokens.
    """
    graph = found.scores.graph
    order = np.full(graph.exists.shape, -1, dtype=np.int32)
    order[tuple(found.order.T)] = np.arange(len(found.order))  # [source, target], rank of the edge
    exists = found.n_requested is not None
    return CircuitRecord(
        **where,
        task=task,
        metric=str(metric),
        method=str(settings.method),
        ig_steps=settings.ig_steps,
        ig_rule=str(settings.ig_rule),
        selection=str(settings.order),
        threshold=settings.threshold,
        faithfulness=str(settings.faithfulness),
        sources=graph.sources,
        targets=graph.targets,
        scores=found.scores.values,
        order=order,
        in_circuit=found.circuit.mask,
        status=str(found.status),
        n_requested=found.n_requested,
        n_eliminated=found.n_eliminated,
        m_model=found.m_model,
        m_corrupted=found.m_corrupted,
        m_circuit=found.m_circuit if exists else None,
        group_of_prompt=found.groups,
        curve_n_requested=found.curve.sizes,
        curve_n_edges=found.curve.n_edges,
        curve_metric=found.curve.metric,
        m_held_out=found.held_out.metric,
        curve_held_out=found.held_out.curve,
        held_out_status=str(found.held_out.status),
        **_certificates(found, bootstrap),
        **_rankings(found.rankings),
        **_intervals(found, settings.threshold, bootstrap),
        **_halves(found.split_half),
        **_splits(found.splits),
    )


def _rankings(curves: RankingCurves) -> dict[str, Any]:
    parts = {f"ranking_{field.name}": getattr(curves, field.name) for field in fields(curves)}
    return {"ranking_name": parts.pop("ranking_ranking"), **parts}


def _certificates(found: Discovery, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the results of all tests; NaN where there are none."""
    known: dict[str, Any] = {
        "certificate_status": str(found.certificates.status),
        "m_complement": found.certificates.m_complement,
        **{f"knockout_{name}": array for name, array in vars(found.certificates.knockouts).items()},
    }
    how: dict[str, Any] = {"bootstrap": bootstrap, "groups": found.groups}
    equal, leaks, lacks = Equivalence(), Independence(), (np.nan, _NOTHING, np.nan)
    if found.certificates.status == CertificateStatus.OK:
        equal = equivalence(found.held_out.metric, found.m_model, **how)
        leaks = independence(
            found.certificates.m_complement, found.m_model, found.m_corrupted, **how
        )
    if found.certificates.removals is not None:
        lacks = incompleteness(found.certificates.removals, found.m_model, found.m_corrupted, **how)
    return known | {
        "win_share": equal.share,
        "win_share_low": equal.interval[0],
        "win_share_high": equal.interval[1],
        "p_equivalence": equal.p,
        "f_complement_low": leaks.interval[0],
        "f_complement_high": leaks.interval[1],
        "p_independence": leaks.p,
        "incompleteness": lacks[0],
        "incompleteness_low": lacks[1][0],
        "incompleteness_high": lacks[1][1],
        "incompleteness_empty": lacks[2],
    }


def _halves(found: SplitHalf) -> dict[str, Any]:
    """Return the fields about halves; their scores in single precision, to keep files small."""
    parts = {f"half_{field.name}": getattr(found, field.name) for field in fields(found)}
    return parts | {
        "half_of_prompt": found.of_prompt.astype(np.int8),
        "half_scores": found.scores.astype(np.float32),
        "half_status": tuple(str(status) for status in found.status),
    }


def _splits(found: Splits) -> dict[str, Any]:
    """Return the fields about splits, in single precision."""
    parts = {f"split_{field.name}": getattr(found, field.name) for field in fields(found)}
    for name in ("split_overlap", "split_rank_correlation"):
        parts[name] = parts[name].astype(np.float32)
    return parts


def _intervals(found: Discovery, threshold: float, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the ends of every bootstrap interval; NaN for those that need a circuit."""
    groups = found.groups
    ends = {
        "m_model": mean_interval(found.m_model, bootstrap, groups),
        "f_raw": _NOTHING,
        "f_raw_held_out": _NOTHING,
        "n_edges": _NOTHING,
    }
    if found.n_requested is not None:
        ends["f_raw"] = ratio_interval(found.m_circuit, found.m_model, bootstrap, groups)
        if found.n_eliminated is None:  # the interval is about the circuits on the curve
            ends["n_edges"] = size_interval(
                found.curve, threshold=threshold, bootstrap=bootstrap, groups=groups
            )
    if found.held_out.status == HeldOutStatus.OK:
        ends["f_raw_held_out"] = ratio_interval(
            found.held_out.metric, found.m_model, bootstrap, groups
        )
    return {
        f"{name}_{end}": value
        for name, pair in ends.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
