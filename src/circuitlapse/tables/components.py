"""The scores of all heads over training, and whether each head is in a circuit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import pandas as pd

from circuitlapse.heads.registry import EFFECT_TASK, EFFECT_UNIT, EFFECTS, SCORES
from circuitlapse.models.graph import HEAD_NAME
from circuitlapse.schemas import COMPONENTS, HEADS
from circuitlapse.tables.base import concatenated, in_order
from circuitlapse.tables.masking import does_task, masked

TASKS = {name: score.task for name, score in SCORES.items()} | dict.fromkeys(EFFECTS, EFFECT_TASK)
UNITS = {name: score.unit for name, score in SCORES.items()} | dict.fromkeys(EFFECTS, EFFECT_UNIT)
"""The built-in task and the unit of every score of heads, effects along paths included."""

_AT = ["model", "variant", "step", "task"]
_HEAD = ["layer", "head"]


def components_table(
    heads: Iterable[pd.DataFrame],
    effects: Iterable[pd.DataFrame],
    *,
    circuit_summary: pd.DataFrame,
    circuit_edges: pd.DataFrame,
    models: Sequence[str],
    task_of_builder: Mapping[str, str | None],
) -> pd.DataFrame:
    """Make the table `components`: the scores of all heads, and which heads are in a circuit.

    Effects along paths are shares of the drop to the corrupted level. They are not defined where
    the model does not do the task (see `tables.masking`); other scores are.

    Args:
        heads: the scores of single jobs, each with the columns of `schemas.HEADS`.
        effects: likewise, from path patching.
        circuit_summary: the table of that name.
        circuit_edges: the table of that name.
        models: the order of rows, as in the configuration.
        task_of_builder: builder -> the name of the task that it made, or None. A score whose
            builder made no task has the builder's name in the column `task`, and there is no
            circuit.

    Raises:
        ArtifactError: if a frame breaks the schema, a head has a score twice, or a model is not in
            the configuration.
    """
    rows = concatenated(chain(heads, effects), HEADS)
    tasks = {name: task_of_builder.get(builder) or builder for name, builder in TASKS.items()}
    rows["task"] = rows["score"].map(tasks)
    rows["unit"] = rows["score"].map(UNITS)
    rows["in_circuit"] = _in_circuit(rows, circuit_summary, circuit_edges)
    table = masked(COMPONENTS.cast(rows), COMPONENTS.name, circuit_summary)
    known = list(dict.fromkeys(tasks.values()))
    return in_order(table, COMPONENTS, models=models, tasks=known)


def _in_circuit(rows: pd.DataFrame, summary: pd.DataFrame, edges: pd.DataFrame) -> pd.Series[bool]:
    """Return whether an edge of the circuit touches the head; missing without a circuit."""
    has_circuit = does_task(rows, summary).fillna(False).astype(bool)
    heads = pd.MultiIndex.from_frame(_heads_of(edges))
    inside = pd.MultiIndex.from_frame(rows[_AT + _HEAD]).isin(heads)
    return pd.Series(inside, index=rows.index, dtype="boolean").where(has_circuit)


def _heads_of(edges: pd.DataFrame) -> pd.DataFrame:
    ends = [edges[_AT].assign(node=edges[end]) for end in ("source", "target")]
    nodes = pd.concat(ends, ignore_index=True).drop_duplicates()
    heads = nodes["node"].str.extract(HEAD_NAME).dropna().astype("int16")
    return nodes.loc[heads.index, _AT].join(heads)
