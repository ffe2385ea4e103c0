"""What all tables share: results of single jobs are checked, concatenated and put in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from circuitlapse.errors import ArtifactError, unknown_name
from circuitlapse.schemas import Schema


def stack(
    frames: Iterable[pd.DataFrame], schema: Schema, *, models: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Concatenate the tables of single jobs and sort the rows; see `in_order`.

    Args:
        frames: each with the columns of `schema`.
        schema: of each frame and of the result.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a frame breaks the schema, a row comes twice, or its model or task is not
            in the configuration.
    """
    return in_order(concatenated(frames, schema), schema, models=models, tasks=tasks)


def concatenated(frames: Iterable[pd.DataFrame], schema: Schema) -> pd.DataFrame:
    """Concatenate tables of one schema; without any, the result has no rows.

    Raises:
        ArtifactError: if a frame breaks the schema.
    """
    frames = list(frames)
    for index, frame in enumerate(frames):
        schema.check(frame, where=f"{schema.name} of job {index}")
    return pd.concat([schema.empty(), *frames], ignore_index=True)


def in_order(
    frame: pd.DataFrame, schema: Schema, *, models: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Sort by the keys of the schema, models and tasks in the order of the configuration.

    Raises:
        ArtifactError: if a row comes twice, or its model or task is not in the configuration.
    """
    rank = {
        "model": {name: index for index, name in enumerate(models)},
        "task": {name: index for index, name in enumerate(tasks)},
    }
    for column, known in rank.items():
        for name in frame[column].unique():
            if name not in known:
                raise ArtifactError(f"{schema.name}: {unknown_name(column, name, known)}")
    _refuse_duplicates(frame, schema)

    def by_rank(column: pd.Series[Any]) -> pd.Series[Any]:
        return column.map(rank[str(column.name)]) if column.name in rank else column

    return frame.sort_values(list(schema.keys), key=by_rank, kind="stable", ignore_index=True)


def _refuse_duplicates(frame: pd.DataFrame, schema: Schema) -> None:
    twice = frame[frame.duplicated(list(schema.keys))]
    if len(twice):
        row = ", ".join(f"{key}={twice.iloc[0][key]}" for key in schema.keys)
        raise ArtifactError(f"{schema.name}: {row} comes more than once; expected one row")
