"""Where a model does not do a task, so that no circuit counts there, nor what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from jaxtyping import Bool
from numpy import ndarray

from circuitlapse.types import Status

LATE_SHARE = 0.05
"""A model with less than this share of its late-training metric does not do the task yet."""

AT = ("model", "variant", "task", "step")
"""What says which model is asked to do which task."""

SERIES = ["model", "variant", "task", "method", "ig_steps"]
"""What circuits have in common that differ in nothing but their step."""


def lacks_late_behaviour(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return, per row, whether the metric is below 5 % of the late-training mean.

    That mean is over the analysed steps of the same model, task and method from half of the
    last of them on.
    """
    series = [summary[column] for column in SERIES]
    last = summary["step"].groupby(series).transform("max")
    late = summary["m_model"].where(summary["step"] >= last / 2)
    return summary["m_model"] < LATE_SHARE * late.groupby(series).transform("mean")


def lacks_behaviour(
    table: pd.DataFrame, summary: pd.DataFrame, *, at: Sequence[str] = AT
) -> Bool[ndarray, " row"]:
    """Return, per row of any table, whether the model does not do the task.

    That is taken from `summary`, for only the whole time-lapse can tell where a metric is
    negligible beside that at the end of training.

    Args:
        table: has the columns `at`.
        summary: the table `circuit_summary`.
        at: the columns that hold model, variant, task and step.
    """
    absent = summary.loc[summary["status"] == Status.NO_BEHAVIOUR, list(AT)]
    return pd.MultiIndex.from_frame(table[list(at)]).isin(pd.MultiIndex.from_frame(absent))
