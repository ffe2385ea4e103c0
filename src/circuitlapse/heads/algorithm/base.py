"""The tables of the IOI algorithm: effects and roles of heads, and what the roles explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy import ndarray

from circuitlapse.heads.algorithm.shares import Panel, consistency_rows
from circuitlapse.heads.registry import EFFECT_UNIT
from circuitlapse.schemas import (
    ALGORITHM_CONSISTENCY,
    CHECKPOINT_TASK,
    GT_ALGORITHM,
    HEAD_SCORES,
    ROLE_GRAPH,
    ROLE_SPLITS,
    ROLES,
    S2I,
    SELF_REPAIR,
)
from circuitlapse.settings.analysis import Bootstrap

STEP_SCHEMAS = {
    "effects": HEAD_SCORES,
    **{
        name: schema.without(*CHECKPOINT_TASK)
        for name, schema in (
            ("s2i", S2I),
            ("roles", ROLES),
            ("consistency", ALGORITHM_CONSISTENCY),
            ("role_graph", ROLE_GRAPH),
            ("role_splits", ROLE_SPLITS),
            ("self_repair", SELF_REPAIR),
            ("gt_algorithm", GT_ALGORITHM),
        )
    },
}
"""The tables of one model at one step, without the columns that say which."""


@dataclass(frozen=True, eq=False)
class IoiAlgorithm:
    """The tables of one model at one step, without the columns that say which.

    Attributes:
        effects: rows of `HEAD_SCORES`, for `e_logits`, `e_nm_q` and `e_s2i_v`.
        s2i: as in `S2I`.
        roles: as in `ROLES`.
        consistency: as in `ALGORITHM_CONSISTENCY`.
        role_graph: as in `ROLE_GRAPH`.
        role_splits: as in `ROLE_SPLITS`.
        self_repair: as in `SELF_REPAIR`.
    """

    effects: pd.DataFrame
    s2i: pd.DataFrame
    roles: pd.DataFrame
    consistency: pd.DataFrame
    role_graph: pd.DataFrame
    role_splits: pd.DataFrame
    self_repair: pd.DataFrame

    def __post_init__(self) -> None:
        """Check that the frames follow their schemas."""
        for field in fields(self):
            STEP_SCHEMAS[field.name].check(getattr(self, field.name), where=field.name)


def tables_of(
    panels: Sequence[Panel],
    tested: pd.DataFrame,
    more: Mapping[str, pd.DataFrame],
    *,
    in_circuit: Bool[ndarray, " head"] | None,
    shape: tuple[int, int],
    n: int,
    bootstrap: Bootstrap,
    min_total: float,
) -> IoiAlgorithm:
    """Return the tables.

    Args:
        panels: the steps.
        tested: from `s_inhibition`.
        more: `role_graph`, `role_splits` and `self_repair`, from the functions of these names.
        in_circuit: the heads in the circuit; None without one.
        shape: layers, and heads of each.
        n: groups of prompts.
        bootstrap: for intervals.
        min_total: smallest sum of effects that shares are taken of.
    """
    head = _places(shape)
    effects = pd.concat([_effects(panel, head, n) for panel in panels])
    roles = [_roles(panel, head) for panel in panels]
    consistency = [
        row
        for panel in panels
        for row in consistency_rows(panel, in_circuit, bootstrap, min_total=min_total)
    ]
    return IoiAlgorithm(
        effects=_table("effects", effects),
        s2i=_table("s2i", tested.assign(unit="ratio", n=n)),
        roles=_table("roles", pd.concat(roles).assign(unit=EFFECT_UNIT, n=n)),
        consistency=_table("consistency", pd.DataFrame(consistency).assign(unit="%", n=n)),
        role_graph=_table("role_graph", more["role_graph"].assign(unit=EFFECT_UNIT, n=n)),
        role_splits=_table("role_splits", more["role_splits"]),
        self_repair=_table("self_repair", more["self_repair"].assign(unit=EFFECT_UNIT)),
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
