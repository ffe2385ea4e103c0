"""From the steps of the IOI algorithm to its tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy import ndarray

from circuitlapse.algorithm.base import OWN, IoiAlgorithm, Panel
from circuitlapse.algorithm.consistency import consistency_rows
from circuitlapse.components import SCORES
from circuitlapse.statistics import Bootstrap


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
        n: prompts.
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
        roles=_table("roles", pd.concat(roles).assign(unit=SCORES["e_logits"].unit, n=n)),
        consistency=_table("consistency", pd.DataFrame(consistency).assign(unit="%", n=n)),
    )


def _table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    return OWN[name].cast(frame).reset_index(drop=True)


def _places(shape: tuple[int, int]) -> pd.DataFrame:
    layer, head = np.indices(shape)
    return pd.DataFrame({"layer": layer.ravel(), "head": head.ravel()})


def _effects(panel: Panel, head: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the effects of a step; where only its roles are unknown, effects are there."""
    if panel.effects is None:
        return head.assign(score=panel.score, value=np.nan, n=0, status=str(panel.status))
    return head.assign(score=panel.score, value=panel.effects.mean, n=n, status="ok")


def _roles(panel: Panel, head: pd.DataFrame) -> pd.DataFrame:
    columns = {"role": "str", "effect": "float64"}
    frames = [head[:0].assign(**{name: pd.Series(dtype=kind) for name, kind in columns.items()})]
    if panel.effects is not None:
        every = head.assign(effect=panel.effects.mean)
        frames += [every[mask].assign(role=role) for role, mask in panel.roles.items()]
    return pd.concat(frames)
