"""The tables that need to know from the table of circuits where a model does a task at all.

Single jobs cannot tell: where a metric is negligible beside that at the end of training is known
only to the whole time-lapse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from circuitlapse.absence import lacks_behaviour
from circuitlapse.aggregate import stack
from circuitlapse.schemas import ALGORITHM_CONSISTENCY, TRANSFER, Schema
from circuitlapse.types import Status, TransferStatus

_OF_THE_CIRCUIT = ("model", "variant", "circuit_task", "circuit_step")


def transfer_table(
    frames: Iterable[pd.DataFrame],
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Put the transfers of single models together.

    Where a model does not do a task, no circuit counts, and none is measured.

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
    unable = lacks_behaviour(table, summary)
    no_circuit = lacks_behaviour(table, summary, at=_OF_THE_CIRCUIT)
    table.loc[unable, "status"] = str(TransferStatus.NO_BEHAVIOUR)
    table.loc[no_circuit, "status"] = str(TransferStatus.NO_CIRCUIT)
    table.loc[no_circuit, "n_edges"] = pd.NA
    table.loc[no_circuit, "m_circuit"] = np.nan
    table.loc[no_circuit | unable, ["f_raw", "f_norm"]] = np.nan
    return table


def algorithm_table(
    frames: Iterable[pd.DataFrame],
    schema: Schema,
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Put together what single jobs traced of the algorithms.

    Where a model does not do the task, there is nothing to trace: shares are not defined and
    their status says why, as where a job itself saw it; other tables have no rows.

    Args:
        frames: each with the columns of `schema`.
        schema: one of `schemas.ALGORITHM_SCHEMAS`.
        summary: see `transfer_table`.
        models: likewise.
        tasks: likewise.

    Raises:
        ArtifactError: see `transfer_table`.
    """
    table = stack(frames, schema, models=models, tasks=tasks)
    unable = lacks_behaviour(table, summary)
    if schema is not ALGORITHM_CONSISTENCY:
        return table[~unable].reset_index(drop=True)
    table.loc[unable, ["pct", "pct_low", "pct_high", "explained", "total"]] = np.nan
    table.loc[unable, "n_heads"] = 0
    table.loc[unable, "status"] = str(Status.NO_BEHAVIOUR)
    return table
