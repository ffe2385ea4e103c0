"""Tables that only collect the results of single jobs, masked where a model lacks the task.

Every function here makes what `tables.registry` names it for. It takes the tables of single jobs
in any order, and `models` and `tasks` in the order of the configuration, which is that of the rows.
It raises an `ArtifactError` if a frame breaks its schema, a row comes twice, or a model or task is
not in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from circuitlapse.schemas import (
    ALGORITHM_CONSISTENCY,
    BEHAVIOUR,
    GT_ALGORITHM,
    ROLE_GRAPH,
    ROLES,
    S2I,
    SELF_REPAIR,
    SWAPS,
    TRANSFER,
    Schema,
)
from circuitlapse.tables.base import stack
from circuitlapse.tables.masking import masked

Frames = Iterable[pd.DataFrame]


class AlgorithmTables(NamedTuple):
    """What was traced of the known algorithms; see `circuitlapse.schemas`."""

    s2i: pd.DataFrame
    roles: pd.DataFrame
    algorithm_consistency: pd.DataFrame
    role_graph: pd.DataFrame
    self_repair: pd.DataFrame
    gt_algorithm: pd.DataFrame


def behaviour_table(
    behaviour: Frames, *, models: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Make the table `behaviour`: how well each model does each task at each step."""
    return stack(behaviour, BEHAVIOUR, models=models, tasks=tasks)


def swaps_table(swaps: Frames, *, models: Sequence[str], tasks: Sequence[str]) -> pd.DataFrame:
    """Make the table `swaps`: how well models do with the heads of another step."""
    return stack(swaps, SWAPS, models=models, tasks=tasks)


def transfer_table(
    transfer: Frames,
    *,
    circuit_summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Make the table `transfer`: how well circuits do at other steps and on other tasks.

    The status says `no_behaviour` where the model that runs the circuit lacks the task, and
    `no_circuit` where the circuit comes from a model, step and task without one.
    """
    table = stack(transfer, TRANSFER, models=models, tasks=tasks)
    return masked(table, TRANSFER.name, circuit_summary)


def algorithm_tables(
    s2i: Frames,
    roles: Frames,
    algorithm_consistency: Frames,
    role_graph: Frames,
    self_repair: Frames,
    gt_algorithm: Frames,
    *,
    circuit_summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> AlgorithmTables:
    """Make the tables about the known algorithms of IOI and Greater-Than.

    Where a model does not do the task there is nothing to trace. The numbers of
    `algorithm_consistency`, `role_graph` and `self_repair` are then NaN and their status says why;
    the other tables have no rows.
    """

    def made(frames: Frames, schema: Schema) -> pd.DataFrame:
        return masked(
            stack(frames, schema, models=models, tasks=tasks), schema.name, circuit_summary
        )

    return AlgorithmTables(
        s2i=made(s2i, S2I),
        roles=made(roles, ROLES),
        algorithm_consistency=made(algorithm_consistency, ALGORITHM_CONSISTENCY),
        role_graph=made(role_graph, ROLE_GRAPH),
        self_repair=made(self_repair, SELF_REPAIR),
        gt_algorithm=made(gt_algorithm, GT_ALGORITHM),
    )
