"""Whether hand-over between heads goes with self-repair: both over training, role by role.

If other heads already make up for the heads of a role, training could move the role to them at
little cost. Then the heads should change more after steps at which more is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from circuitlapse.schemas import HAND_OVER, TASK_KEYS
from circuitlapse.statistics import mean_ranks, pearson
from circuitlapse.tables.base import in_order
from circuitlapse.types.status import HandOverStatus

MIN_STEPS = 3
"""Fewer have no correlation."""
_LINE = ("model", "variant", "task", "role")


def hand_over_table(
    *,
    turnover: pd.DataFrame,
    self_repair: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Make the table `hand_over`: a rank correlation over steps, for every model and role.

    It is that of `repaired` at a step and 1 - `jaccard` from there to the next step, where both are
    defined; p is by permutation of the steps. Steps that follow each other are alike, so that p is
    rather too small.

    Args:
        turnover: the table of that name.
        self_repair: the table of that name.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a row comes twice, or a model or task is not in the configuration.
    """
    share = self_repair[[*TASK_KEYS, "role", "repaired"]]
    joined = turnover.merge(share, how="left", on=[*TASK_KEYS, "role"])
    rows = [
        dict(zip(_LINE, line, strict=True)) | _row(own.dropna(subset=["repaired", "jaccard"]))
        for line, own in joined.groupby(list(_LINE), sort=False)
    ]
    table = HAND_OVER.cast(pd.DataFrame(rows, columns=list(HAND_OVER.columns)))
    return in_order(table, HAND_OVER, models=models, tasks=tasks)


def _row(steps: pd.DataFrame) -> dict[str, Any]:
    repaired, moved = (
        mean_ranks(values.to_numpy(float)) for values in (steps["repaired"], 1 - steps["jaccard"])
    )
    r, p = pearson(repaired, moved)  # of ranks: Spearman's
    status = HandOverStatus.CONSTANT if pd.isna(r) else HandOverStatus.OK
    if len(steps) < MIN_STEPS:
        status = HandOverStatus.TOO_FEW_STEPS
    return {"r": r, "p": p, "unit": "correlation", "n": len(steps), "status": str(status)}
