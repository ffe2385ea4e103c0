"""How much the heads of a role change between steps, against what other prompts alone change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from circuitlapse.circuits.overlap import Shares, jaccard, weighted_jaccard
from circuitlapse.schemas import ROLE_SPLITS, TASK_KEYS, TURNOVER
from circuitlapse.tables.base import concatenated, in_order
from circuitlapse.tables.compared import FLOOR_QUANTILE
from circuitlapse.tables.masking import NO_BEHAVIOUR
from circuitlapse.types import MIN_SPLITS, Role
from circuitlapse.types.status import LEFT_OUT, TurnoverStatus

_MOST_HEADS = 1_000_000
"""More than any layer has: layer and head as one number."""

Row = dict[str, Any]
Step = tuple[str, str, str, int]
"""Model, variant, task and step."""


def turnover_table(
    splits: Iterable[pd.DataFrame],
    *,
    roles: pd.DataFrame,
    circuit_summary: pd.DataFrame,
    models: Sequence[str],
    task_of_builder: Mapping[str, str | None],
) -> pd.DataFrame:
    """Make the table `turnover`: the heads of every role at neighbouring analysed steps.

    A change is reported where the overlap is below the noise floor: the 5 % quantile of the
    overlap of two halves of the prompts, of the two steps the lower. Halves have fewer prompts than
    the steps that are compared, so that the floor is rather too low, and less is reported. Two
    halves without a head of the role agree, and count as 1.

    Args:
        splits: `role_splits` of single jobs.
        roles: the table of that name.
        circuit_summary: the table of that name: which steps there are, and where the model does the
            task.
        models: the order of rows, as in the configuration.
        task_of_builder: builder -> the name of the task that it made, or None.

    Raises:
        ArtifactError: if a frame breaks the schema, or a model is not in the configuration.
    """
    ioi = task_of_builder.get("ioi")
    floors = _floors(concatenated(splits, ROLE_SPLITS))
    heads = {
        (*place, role): _shares(own)
        for (*place, role), own in roles.groupby([*TASK_KEYS, "role"], sort=False)
    }
    summary = circuit_summary[circuit_summary["task"] == ioi]
    summary = summary[~summary["status"].isin(LEFT_OUT)].drop_duplicates(list(TASK_KEYS))
    rows = [
        _row(one, other, str(role), heads, floors)
        for _, lapse in summary.groupby(["model", "variant"], sort=False)
        for (one, other), role in product(_neighbours(lapse), Role)
    ]
    table = TURNOVER.cast(pd.DataFrame(rows, columns=list(TURNOVER.columns)))
    return in_order(table, TURNOVER, models=models, tasks=[ioi] if ioi else [])


def _neighbours(lapse: pd.DataFrame) -> Iterator[tuple[Row, Row]]:
    """Yield the rows of the summary at neighbouring steps."""
    records = lapse.sort_values("step").to_dict("records")
    yield from pairwise({str(name): value for name, value in row.items()} for row in records)


def _row(
    one: Row,
    other: Row,
    role: str,
    heads: Mapping[tuple[Any, ...], Shares],
    floors: Mapping[tuple[Any, ...], tuple[float, float]],
) -> Row:
    """Compare the heads of a role at two steps."""
    row = {name: one[name] for name in ("model", "variant", "step", "tokens", "task", "n")}
    row |= {"step_next": other["step"], "role": role, "unit": "share", "n_heads": pd.NA}
    row |= {"n_heads_next": pd.NA, "changed": pd.NA}
    row |= dict.fromkeys(("jaccard", "weighted", "floor_median", "floor_low"), np.nan)
    places = [(*(step[name] for name in TASK_KEYS), role) for step in (one, other)]
    if NO_BEHAVIOUR in (one["status"], other["status"]):
        return row | {"status": str(TurnoverStatus.NO_BEHAVIOUR)}
    if not {*places} <= {*floors}:
        return row | {"status": str(TurnoverStatus.NOT_MEASURED)}
    nobody = Shares(np.zeros(0, dtype=int), np.zeros(0))
    mine, theirs = (heads.get(place, nobody) for place in places)
    row |= {"n_heads": len(mine.part), "n_heads_next": len(theirs.part)}
    median, low = np.minimum(floors[places[0]], floors[places[1]])
    row |= {"floor_median": median, "floor_low": low}
    if not len(mine.part) and not len(theirs.part):
        return row | {"status": str(TurnoverStatus.NO_HEADS)}
    overlap = jaccard(mine, theirs)
    row |= {"jaccard": overlap, "weighted": weighted_jaccard(mine, theirs)}
    changed = pd.NA if np.isnan(low) else bool(overlap < low)
    return row | {"changed": changed, "status": str(TurnoverStatus.OK)}


def _floors(splits: pd.DataFrame) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Return the median and the low quantile of the overlaps, by model, step and role.

    The quantile is that of Weibull, as in `noise_floor`.
    """
    floors = {}
    for (*place, role), own in splits.groupby([*TASK_KEYS, "role"], sort=False):
        nobody = (own["n_first"] == 0) & (own["n_second"] == 0)
        overlap = own["jaccard"].mask(nobody, 1.0)
        low = np.quantile(overlap, FLOOR_QUANTILE, method="weibull")
        enough = len(overlap) >= MIN_SPLITS - 1
        floors[(*place, role)] = (overlap.median(), low) if enough else (np.nan, np.nan)
    return floors


def _shares(rows: pd.DataFrame) -> Shares:
    """Return the heads of a role, each with its share in the summed |effect|."""
    rows = rows.sort_values(["layer", "head"])
    part = rows["layer"].to_numpy(int) * _MOST_HEADS + rows["head"].to_numpy(int)
    size = rows["effect"].abs().to_numpy(float)
    return Shares(part, size / size.sum())
