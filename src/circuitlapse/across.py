"""The table that tells how circuits do at other steps and on other tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from circuitlapse.aggregate import stack
from circuitlapse.schemas import TRANSFER
from circuitlapse.types import Status, TransferStatus

_AT = ["model", "variant", "task", "step", "method", "ig_steps"]
_OF_THE_CIRCUIT = ["model", "variant", "circuit_task", "circuit_step", "method", "ig_steps"]


def transfer_table(
    frames: Iterable[pd.DataFrame],
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Put the transfers of single models together.

    Which models do a task is taken from `summary`, for only the whole time-lapse can tell where
    a metric is negligible beside that at the end of training: there, no circuit counts, and none
    is measured.

    Args:
        frames: each with the columns of `schemas.TRANSFER`.
        summary: the table `circuit_summary`.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a frame breaks the schema, an observation comes twice, or a model or
            task is not in the configuration.
    """
    table = stack(frames, TRANSFER, models=models, tasks=tasks)
    absent = pd.MultiIndex.from_frame(
        summary.loc[summary["status"] == Status.NO_BEHAVIOUR, _AT], names=_AT
    )
    unable = pd.MultiIndex.from_frame(table[_AT]).isin(absent)
    no_circuit = pd.MultiIndex.from_frame(table[_OF_THE_CIRCUIT]).isin(absent)
    table.loc[unable, "status"] = str(TransferStatus.NO_BEHAVIOUR)
    table.loc[no_circuit, "status"] = str(TransferStatus.NO_CIRCUIT)
    table.loc[no_circuit, "n_edges"] = pd.NA
    table.loc[no_circuit, "m_circuit"] = np.nan
    table.loc[no_circuit | unable, ["f_raw", "f_norm"]] = np.nan
    return table
