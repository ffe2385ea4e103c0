"""Where a model does not do a task, and what tables hold there.

`with_late_rule` decides it for all tables, in the column `status` of `circuit_summary`. `masked`
joins it to every other table. A model does not do a task at a step if

- the search for a circuit says so: see `circuits.faithfulness.does_the_task`; or
- the metric is below 5 % of its late-training mean: see `lacks_late_behaviour`.

The jobs behind `transfer` and the tables of the IOI algorithm do not read `circuit_summary`. They
call `does_the_task` with a threshold of 1, which is never stricter than the configured one.
`masked` adds the rows where only the search or the late-training mean says no.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from circuitlapse.heads.registry import EFFECT_UNIT
from circuitlapse.schemas import (
    CERTIFICATE_NUMBERS,
    CONSISTENCY_NUMBERS,
    EDGES_TESTED,
    ROLE_GRAPH_NUMBERS,
    SELF_REPAIR_NUMBERS,
    TASK_KEYS,
)
from circuitlapse.types.status import CertificateStatus, HeldOutStatus, Status, TransferStatus

LATE_SHARE = 0.05
"""A model with less than this share of its late-training metric does not do the task yet."""

NO_BEHAVIOUR = str(Status.NO_BEHAVIOUR)


@dataclass(frozen=True, kw_only=True)
class Mask:
    """What the rows of a table hold where the model does not do the task.

    Attributes:
        missing: columns that become NaN, or missing.
        values: column -> the value it takes, such as a status.
        drop: the table has no such rows; nothing else applies.
        only: column -> the value that a row must have for the mask to apply to it.
        at: the columns that hold model, variant, task and step.
    """

    missing: tuple[str, ...] = ()
    values: Mapping[str, str | int] = field(default_factory=dict)
    drop: bool = False
    only: Mapping[str, str] = field(default_factory=dict)
    at: tuple[str, str, str, str] = TASK_KEYS


_FAITHFULNESS = ("f_raw", "f_norm")
_HELD_OUT = ("f_raw_held_out", "f_raw_held_out_low", "f_raw_held_out_high")
_SIZE = (
    *("n_requested", "n_eliminated", "n_edges", "n_edges_low", "n_edges_high"),
    *("n_nodes", "edge_fraction"),
)

MASKS: Mapping[str, tuple[Mask, ...]] = {
    "circuit_summary": (
        Mask(
            missing=(
                *(*_SIZE, "m_circuit", *_FAITHFULNESS, "f_raw_low", "f_raw_high", "f_raw_empty"),
                *_HELD_OUT,
                *CERTIFICATE_NUMBERS,
                *EDGES_TESTED,
            ),
            values={
                "held_out_status": str(HeldOutStatus.NO_BEHAVIOUR),
                "certificate_status": str(CertificateStatus.NO_BEHAVIOUR),
            },
        ),
    ),
    "faithfulness_curve": (Mask(missing=(*_FAITHFULNESS, "f_raw_held_out")),),
    "circuit_edges": (Mask(drop=True),),
    "ranking_curve": (Mask(missing=_FAITHFULNESS),),
    "ranking_area": (Mask(missing=("cpr", "cmd")),),
    "components": (
        Mask(
            missing=("value",),
            values={"n": 0, "status": NO_BEHAVIOUR},
            only={"unit": EFFECT_UNIT},
        ),
    ),
    "s2i": (Mask(drop=True),),
    "roles": (Mask(drop=True),),
    "algorithm_consistency": (
        Mask(missing=CONSISTENCY_NUMBERS, values={"n_heads": 0, "status": NO_BEHAVIOUR}),
    ),
    "role_graph": (
        Mask(
            missing=ROLE_GRAPH_NUMBERS,
            values={"n_source": 0, "n_target": 0, "status": NO_BEHAVIOUR},
        ),
    ),
    "self_repair": (
        Mask(missing=SELF_REPAIR_NUMBERS, values={"n_heads": 0, "status": NO_BEHAVIOUR}),
    ),
    "gt_algorithm": (Mask(drop=True),),
    "transfer": (
        Mask(
            missing=_FAITHFULNESS,
            values={"status": str(TransferStatus.NO_BEHAVIOUR)},
        ),
        Mask(
            missing=("n_edges", "m_circuit", *_FAITHFULNESS),
            values={"status": str(TransferStatus.NO_CIRCUIT)},
            at=("circuit_model", "circuit_variant", "circuit_task", "circuit_step"),
        ),
    ),
}
"""Table -> what it holds where the model does not do the task; later masks win over earlier ones.

Tables without an entry either need no mask (`behaviour` and `swaps` measure the model itself) or
compare circuits (`stability`, `size_correlation`), and see in `circuit_summary` which there are.
"""


def with_late_rule(summary: pd.DataFrame) -> pd.DataFrame:
    """Return `circuit_summary` with the status `no_behaviour` wherever a model lacks the task.

    The search for a circuit sees one step and sets that status where the metric there says so.
    Only the whole time-lapse shows that a metric is negligible beside that of late training.
    """
    late = lacks_late_behaviour(summary)
    return summary.assign(status=summary["status"].mask(late, NO_BEHAVIOUR))


def lacks_late_behaviour(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return, per row, whether the metric is below 5 % of its late-training mean.

    The mean is over the analysed steps of the same model and task in the second half of training,
    which is from half of the last analysed step on.
    """
    series = [summary[column] for column in TASK_KEYS if column != "step"]
    last = summary["step"].groupby(series).transform("max")
    late = summary["m_model"].where(summary["step"] >= last / 2)
    return summary["m_model"] < LATE_SHARE * late.groupby(series).transform("mean")


def does_task(
    table: pd.DataFrame, circuit_summary: pd.DataFrame, *, at: tuple[str, ...] = TASK_KEYS
) -> pd.Series[bool]:
    """Return, per row of any table, whether the model does the task.

    Args:
        table: has the columns `at`.
        circuit_summary: the table of that name, with the status of `with_late_rule`.
        at: the columns that hold model, variant, task and step.

    Returns:
        A nullable boolean per row, with the index of `table`; missing where `circuit_summary` has
        no such model, task and step.
    """
    keys = list(TASK_KEYS)
    known = circuit_summary[keys].assign(does=circuit_summary["status"] != NO_BEHAVIOUR)
    places = table[list(at)].set_axis(keys, axis=1)
    joined = places.merge(known.drop_duplicates(keys), how="left", on=keys)
    return joined["does"].astype("boolean").set_axis(table.index)


def masked(table: pd.DataFrame, name: str, circuit_summary: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its masks applied where the model does not do the task.

    Args:
        table: with the columns and dtypes of its schema, which it keeps.
        name: of the table; see `MASKS`.
        circuit_summary: the table of that name.
    """
    table = table.copy()
    for mask in MASKS[name]:
        rows = ~does_task(table, circuit_summary, at=mask.at).fillna(True).astype(bool)
        for column, value in mask.only.items():
            rows &= table[column] == value
        if mask.drop:
            table = table[~rows].reset_index(drop=True)
            continue
        for column in mask.missing:
            table[column] = table[column].mask(rows)
        for column, constant in mask.values.items():
            table.loc[rows, column] = constant
    return table
