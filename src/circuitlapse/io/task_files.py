"""Tasks on disk: one Parquet file per tokenizer and task."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitlapse.errors import REMAKE, ArtifactError, TaskError, reading
from circuitlapse.io.corpus_files import read_tokenizer_of
from circuitlapse.io.table_files import PROVENANCE, read_parquet, write_parquet
from circuitlapse.tasks.checks import refuse_other_tokens
from circuitlapse.tasks.encode import COLUMNS, Task, to_frame
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric

HEADER = b"circuitlapse_task"
HASH = b"circuitlapse_content_hash"

_ARROW = {"int32": pa.int32(), "str": pa.string(), "list<int32>": pa.list_(pa.int32())}


def write_task(path: str | Path, task: Task, provenance: Mapping[str, Any]) -> None:
    """Write a task; the file is complete or absent.

    Args:
        path: ends in `.parquet`.
        task: its header and content hash are stored in the metadata.
        provenance: what made the task, for the metadata.
    """
    metadata = {
        HEADER: json.dumps(task.header, sort_keys=True),
        HASH: task.content_hash,
        PROVENANCE: json.dumps(provenance, sort_keys=True),
    }
    fields = [
        pa.field(column, _ARROW[COLUMNS.get(column, "int32")]) for column in task.frame.columns
    ]
    write_parquet(path, pa.Table.from_pylist(_rows(task), schema=pa.schema(fields)), metadata)


def read_task(path: str | Path) -> Task:
    """Read a task and check that its content has not changed.

    Raises:
        ArtifactError: if the file is missing or is not a task, or its content has another hash
            than its metadata.
    """
    table = read_parquet(path)
    metadata = table.schema.metadata or {}
    if missing := [key.decode() for key in (HEADER, HASH) if key not in metadata]:
        raise ArtifactError(f"{path}: not a task: the metadata has no {', '.join(missing)}")
    with reading(path, "task of this version"):
        header = json.loads(metadata[HEADER])
        frame = to_frame(table.to_pylist())
        try:
            task = Task(**{**header, "metric": Metric(header["metric"])}, frame=frame)
        except TaskError as error:
            raise ValueError(str(error)) from error
        found, expected = task.content_hash, metadata[HASH].decode()
    if found != expected:
        raise ArtifactError(
            f"{path}: changed after it was written: expected content hash {expected}, found "
            f"{found}; {REMAKE}"
        )
    return task


def read_tasks_for(model: str | Path, paths: Iterable[str | Path]) -> list[Task]:
    """Read tasks, and check that the model in a folder has the same tokens for their prompts.

    Raises:
        ArtifactError: see `read_task` and `read_tokenizer`.
        ModelError: if the tokenizer of the model gives other tokens.
    """
    tasks = [read_task(path) for path in paths]
    vocabulary = Vocabulary(read_tokenizer_of(model))
    for task in tasks:
        refuse_other_tokens(task, vocabulary, where=f"{model}/tokenizer.json")
    return tasks


def _rows(task: Task) -> list[dict[Hashable, Any]]:
    return task.frame.astype(object).where(task.frame.notna(), None).to_dict("records")
