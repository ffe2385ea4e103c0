"""Tasks on disk: one Parquet file per tokenizer and task."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from circuitlapse.errors import REMAKE, ArtifactError, TaskError, require_file
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import read_tokenizer_of
from circuitlapse.tasks.checks import refuse_other_tokens
from circuitlapse.tasks.encode import COLUMNS, Task, to_frame
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric

HEADER = b"circuitlapse_task"
HASH = b"circuitlapse_content_hash"
PROVENANCE = b"circuitlapse"

_ARROW = {"int32": pa.int32(), "str": pa.string(), "list<int32>": pa.list_(pa.int32())}


def write_task(path: str | Path, task: Task, provenance: Mapping[str, Any]) -> None:
    """Write a task, whole or not at all.

    Args:
        path: ends in `.parquet`.
        task: its header and content hash go to the schema metadata.
        provenance: what it was made from and by; JSON in the schema metadata.
    """
    note = {
        HEADER: json.dumps(task.header, sort_keys=True),
        HASH: task.content_hash,
        PROVENANCE: json.dumps(provenance, sort_keys=True),
    }
    fields = [
        pa.field(column, _ARROW[COLUMNS.get(column, "int32")]) for column in task.frame.columns
    ]
    table = pa.Table.from_pylist(_rows(task), schema=pa.schema(fields, metadata=note))
    with atomic_path(path) as scratch:
        pq.write_table(table, scratch, compression="zstd")


def read_task(path: str | Path) -> Task:
    """Read a task and check that it is what was written.

    Raises:
        ArtifactError: if the file is not there or is no task, or its content does not have the
            hash that was written with it.
    """
    require_file(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{path}: cannot be read as Parquet ({error}); {REMAKE}") from error
    note = table.schema.metadata or {}
    if missing := [key.decode() for key in (HEADER, HASH) if key not in note]:
        raise ArtifactError(f"{path}: is not a task; its metadata lacks {', '.join(missing)}")
    header = json.loads(note[HEADER])
    try:
        frame = to_frame(table.to_pylist())
        task = Task(**{**header, "metric": Metric(header["metric"])}, frame=frame)
    except (TaskError, TypeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: is not a task of this version ({error})") from error
    expected = note[HASH].decode()
    if task.content_hash != expected:
        raise ArtifactError(
            f"{path}: its content has changed since it was written: expected content hash "
            f"{expected}, found {task.content_hash}; {REMAKE}"
        )
    return task


def read_tasks_for(model: str | Path, paths: Iterable[str | Path]) -> list[Task]:
    """Read tasks for the model in a folder.

    Raises:
        ArtifactError: see `read_task` and `read_tokenizer`.
        ModelError: if the model's tokenizer has other tokens for the prompts.
    """
    tasks = [read_task(path) for path in paths]
    vocabulary = Vocabulary(read_tokenizer_of(model))
    for task in tasks:
        refuse_other_tokens(task, vocabulary, where=f"{model}/tokenizer.json")
    return tasks


def _rows(task: Task) -> list[dict[Hashable, Any]]:
    return task.frame.astype(object).where(task.frame.notna(), None).to_dict("records")
