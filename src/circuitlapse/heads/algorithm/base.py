"""Effects and roles of heads, the share of effects that roles explain, and the tables of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.heads.registry import EFFECT_UNIT
from circuitlapse.schemas import (
    ALGORITHM_CONSISTENCY,
    CHECKPOINT_TASK,
    GT_ALGORITHM,
    HEAD_SCORES,
    ROLES,
    S2I,
)
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import Groups, interval_of_means
from circuitlapse.types import AlgorithmStatus, Role

STEP_SCHEMAS = {
    "effects": HEAD_SCORES,
    **{
        name: schema.without(*CHECKPOINT_TASK)
        for name, schema in (
            ("s2i", S2I),
            ("roles", ROLES),
            ("consistency", ALGORITHM_CONSISTENCY),
            ("gt_algorithm", GT_ALGORITHM),
        )
    },
}
"""The tables of one model at one step, without the columns that say which."""


@dataclass(frozen=True, eq=False)
class Effects:
    """What corrupting the path from each head does; heads are in the order of their layers.

    Attributes:
        change: logit difference with the path corrupted, minus the clean one.
        span: the clean logit difference minus that on the corrupted prompt.
        groups: of the prompts; None makes every prompt one of its own.
    """

    change: Float[ndarray, "head prompt"]
    span: Float[ndarray, " prompt"]
    groups: Groups = None

    @property
    def mean(self) -> Float[ndarray, " head"]:
        """Mean change over mean span: 0 is no harm, -1 a fall to the corrupted level."""
        return np.asarray(self.change.mean(1) / self.span.mean())


@dataclass(frozen=True, eq=False)
class Panel:
    """One step of the algorithm.

    Attributes:
        name: in the table `algorithm_consistency`.
        score: name of its effects in the table of heads.
        effects: None where they are not defined.
        roles: role -> the heads that have it; empty where they are not known.
        status: why effects or roles are missing.
    """

    name: str
    score: str
    effects: Effects | None
    roles: Mapping[Role, Bool[ndarray, " head"]]
    status: AlgorithmStatus = AlgorithmStatus.OK

    @property
    def heads(self) -> Bool[ndarray, " head"]:
        """The heads with any of the roles."""
        return np.asarray(np.logical_or.reduce(list(self.roles.values())))


@dataclass(frozen=True, eq=False)
class IoiAlgorithm:
    """The tables of one model at one step, without the columns that say which.

    Attributes:
        effects: rows of `HEAD_SCORES`, for `e_logits`, `e_nm_q` and `e_s2i_v`.
        s2i: as in `S2I`.
        roles: as in `ROLES`.
        consistency: as in `ALGORITHM_CONSISTENCY`.
    """

    effects: pd.DataFrame
    s2i: pd.DataFrame
    roles: pd.DataFrame
    consistency: pd.DataFrame

    def __post_init__(self) -> None:
        """Check that the frames follow their schemas."""
        for field in fields(self):
            STEP_SCHEMAS[field.name].check(getattr(self, field.name), where=field.name)


DENOMINATORS = ("circuit", "all", "harmful")
"""The heads of the circuit; all heads; those whose corruption lowers the metric, E < 0."""

Weigh = Callable[[Float[ndarray, "*sample head"]], Float[ndarray, "*sample head"]]


def consistency_rows(
    panel: Panel, in_circuit: Bool[ndarray, " head"] | None, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """Yield a row of `algorithm_consistency` per denominator.

    With effects E and the heads H that have a role, `explained` is the sum over H of w(E) and
    `total` the sum over all heads. w is |E|, or 0 for a head that the denominator leaves out of
    both sums, so the share lies between 0 and 100 %. It is 0 if no head has a role, and NaN if
    `total` is 0.

    How the paper takes the share is not public, so there are three denominators. The interval is
    over groups of prompts: effects are recomputed for every resample, roles are kept.
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
    weights = weigh(effects.mean)  # [head]
    explained, total = weights[heads].sum(), weights.sum()
    counts = {"explained": explained, "total": total, "n_heads": (weights[heads] > 0).sum()}
    if total == 0:
        return _undefined(AlgorithmStatus.NO_EFFECT) | counts

    def percent(means: Float[ndarray, "*sample value"]) -> Float[ndarray, "*sample"]:
        # The last mean is that of the span: effects [..., head] of every resample.
        weights = weigh(means[..., :-1] / means[..., -1:])
        # 0 / 0 where a resample leaves no effect at all: its share is NaN.
        with np.errstate(invalid="ignore"):
            share = weights[..., heads].sum(-1) / weights.sum(-1)
        return np.asarray(100 * np.minimum(share, 1))  # 1 + 2e-16, where sums are rounded

    # [head + 1, prompt]: changes and span are resampled together
    both = np.vstack([effects.change, effects.span])
    low, high = interval_of_means(both, percent, bootstrap, effects.groups)
    ends = {"pct": 100 * min(explained / total, 1), "pct_low": low, "pct_high": high}
    return ends | counts | {"status": str(AlgorithmStatus.OK)}


def _undefined(status: AlgorithmStatus) -> dict[str, Any]:
    numbers = dict.fromkeys(("pct", "pct_low", "pct_high", "explained", "total"), np.nan)
    return numbers | {"n_heads": 0, "status": str(status)}


def tables_of(
    panels: Sequence[Panel],
    tested: pd.DataFrame,
    *,
    in_circuit: Bool[ndarray, " head"] | None,
    shape: tuple[int, int],
    n: int,
    bootstrap: Bootstrap,
) -> IoiAlgorithm:
    """Return the tables.

    Args:
        panels: the steps.
        tested: from `s_inhibition`.
        in_circuit: the heads in the circuit; None without one.
        shape: layers, and heads of each.
        n: groups of prompts.
        bootstrap: for intervals.
    """
    head = _places(shape)
    effects = pd.concat([_effects(panel, head, n) for panel in panels])
    roles = [_roles(panel, head) for panel in panels]
    consistency = [
        row for panel in panels for row in consistency_rows(panel, in_circuit, bootstrap)
    ]
    return IoiAlgorithm(
        effects=_table("effects", effects),
        s2i=_table("s2i", tested.assign(unit="ratio", n=n)),
        roles=_table("roles", pd.concat(roles).assign(unit=EFFECT_UNIT, n=n)),
        consistency=_table("consistency", pd.DataFrame(consistency).assign(unit="%", n=n)),
    )


def _table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    return STEP_SCHEMAS[name].cast(frame).reset_index(drop=True)


def _places(shape: tuple[int, int]) -> pd.DataFrame:
    layer, head = np.indices(shape)  # each [layer, head]
    return pd.DataFrame({"layer": layer.ravel(), "head": head.ravel()})


def _effects(panel: Panel, head: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the effects of a step; where only its roles are unknown, effects are there."""
    ends = {"low": np.nan, "high": np.nan}  # effects have no interval
    if panel.effects is None:
        return head.assign(score=panel.score, value=np.nan, n=0, status=str(panel.status), **ends)
    return head.assign(score=panel.score, value=panel.effects.mean, n=n, status="ok", **ends)


def _roles(panel: Panel, head: pd.DataFrame) -> pd.DataFrame:
    columns = {"role": "str", "effect": "float64"}
    frames = [head[:0].assign(**{name: pd.Series(dtype=kind) for name, kind in columns.items()})]
    if panel.effects is not None:
        every = head.assign(effect=panel.effects.mean)  # one row per head, in the order of layers
        frames += [every[mask].assign(role=str(role)) for role, mask in panel.roles.items()]
    return pd.concat(frames)
