"""Which share of an effect comes from the heads with a known role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.algorithm.base import AlgorithmStatus, Effects, Panel
from circuitlapse.statistics import Bootstrap

DENOMINATORS = ("circuit", "all", "harmful")
"""The heads of the circuit; all heads; those whose corruption does harm, that is, E < 0."""

Weigh = Callable[[Float[ndarray, "*sample head"]], Float[ndarray, "*sample head"]]


def consistency_rows(
    panel: Panel, in_circuit: Bool[ndarray, " head"] | None, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """Yield a row of `algorithm_consistency` per denominator.

    With effects E and the heads H that have a role, `explained` is the sum over H of w(E) and
    `total` that over all heads. w is |E|, or 0 for a head that the denominator leaves out; such a
    head is left out of both sums, so the share stays between 0 and 100 %. It is 0 without heads
    in H, and NaN where `total` is 0.

    The interval is over prompts: mean effects are those of the resample, roles are kept.
    """
    for denominator in DENOMINATORS:
        row = {"panel": panel.name, "denominator": denominator}
        lacks_circuit = denominator == "circuit" and in_circuit is None
        if panel.status == AlgorithmStatus.OK and lacks_circuit:
            yield row | _undefined(AlgorithmStatus.NO_CIRCUIT)
        elif panel.effects is None or panel.status != AlgorithmStatus.OK:
            yield row | _undefined(panel.status)
        else:
            weigh = _weights(denominator, in_circuit)
            yield row | _share(panel.effects, panel.heads, weigh, bootstrap)


def _weights(denominator: str, in_circuit: Bool[ndarray, " head"] | None) -> Weigh:
    if denominator == "harmful":
        return lambda effects: np.maximum(-effects, 0)
    kept = in_circuit if denominator == "circuit" and in_circuit is not None else 1
    return lambda effects: np.abs(effects) * kept


def _share(
    effects: Effects, heads: Bool[ndarray, " head"], weigh: Weigh, bootstrap: Bootstrap
) -> dict[str, Any]:
    weights = weigh(effects.mean)
    explained, total = weights[heads].sum(), weights.sum()
    counts = {"explained": explained, "total": total, "n_heads": (weights[heads] > 0).sum()}
    if total == 0:
        return _undefined(AlgorithmStatus.NO_EFFECT) | counts

    def percent(means: Float[ndarray, "*sample value"]) -> Float[ndarray, "*sample"]:
        weights = weigh(means[..., :-1] / means[..., -1:])
        with np.errstate(invalid="ignore"):
            share = weights[..., heads].sum(-1) / weights.sum(-1)
        return np.asarray(100 * np.minimum(share, 1))  # 1 + 2e-16, where sums are rounded

    low, high = bootstrap.of_means(np.vstack([effects.change, effects.span]), percent)
    ends = {"pct": 100 * min(explained / total, 1), "pct_low": low, "pct_high": high}
    return ends | counts | {"status": str(AlgorithmStatus.OK)}


def _undefined(status: AlgorithmStatus) -> dict[str, Any]:
    numbers = dict.fromkeys(("pct", "pct_low", "pct_high", "explained", "total"), np.nan)
    return numbers | {"n_heads": 0, "status": str(status)}
