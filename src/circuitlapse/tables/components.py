"""The scores of all heads over training, and whether each head is part of a circuit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from circuitlapse.heads.registry import EFFECT_TASK, EFFECT_UNIT, EFFECTS, SCORES
from circuitlapse.models.graph import HEAD_NAME
from circuitlapse.schemas import COMPONENTS, HEADS
from circuitlapse.tables.circuits import concatenated, in_order
from circuitlapse.tables.masking import lacks_behaviour
from circuitlapse.types import Status

TASKS = {name: score.task for name, score in SCORES.items()} | dict.fromkeys(EFFECTS, EFFECT_TASK)
UNITS = {name: score.unit for name, score in SCORES.items()} | dict.fromkeys(EFFECTS, EFFECT_UNIT)
"""Of every score of heads, effects of path patching included."""

_AT = ["model", "variant", "step", "task"]
_HEAD = ["layer", "head"]


def components_table(
    frames: Iterable[pd.DataFrame],
    *,
    summary: pd.DataFrame,
    edges: pd.DataFrame,
    models: Sequence[str],
    built: Mapping[str, str | None],
) -> pd.DataFrame:
    """Put the scores of single jobs together, and look each head up in the task's circuit.

    Effects are shares of what corruption costs, so they are not defined where `summary` says that
    the model does not do the task; other scores are.

    Args:
        frames: each with the columns of `schemas.HEADS`.
        summary: the table `circuit_summary`.
        edges: the table `circuit_edges`.
        models: the order of rows, as in the configuration.
        built: builder -> the name of the task that it made. A builder without a task lends its
            own name to the column `task`, and there is no circuit.

    Raises:
        ArtifactError: if a frame breaks the schema, an observation comes twice, or a model is
            not in the configuration.
    """
    rows = concatenated(frames, HEADS)
    tasks = {name: built.get(builder) or builder for name, builder in TASKS.items()}
    rows["task"] = rows["score"].map(tasks)
    rows["unit"] = rows["score"].map(UNITS)
    rows["in_circuit"] = _in_circuit(rows, summary, edges)
    undefined = (rows["unit"] == EFFECT_UNIT) & lacks_behaviour(rows, summary)
    rows.loc[undefined, "value"] = float("nan")
    rows.loc[undefined, "n"] = 0
    rows.loc[undefined, "status"] = str(Status.NO_BEHAVIOUR)
    known = list(dict.fromkeys(tasks.values()))
    return in_order(COMPONENTS.cast(rows), COMPONENTS, models=models, tasks=known)


def _in_circuit(rows: pd.DataFrame, summary: pd.DataFrame, edges: pd.DataFrame) -> pd.Series[bool]:
    """Return whether an edge of the circuit touches the head; missing without a circuit."""
    found = summary[summary["status"] != Status.NO_BEHAVIOUR]
    has_circuit = pd.MultiIndex.from_frame(rows[_AT]).isin(pd.MultiIndex.from_frame(found[_AT]))
    heads = pd.MultiIndex.from_frame(_heads_of(edges))
    inside = pd.MultiIndex.from_frame(rows[_AT + _HEAD]).isin(heads)
    return pd.Series(inside, index=rows.index, dtype="boolean").where(has_circuit)


def _heads_of(edges: pd.DataFrame) -> pd.DataFrame:
    ends = [edges[_AT].assign(node=edges[end]) for end in ("source", "target")]
    nodes = pd.concat(ends, ignore_index=True).drop_duplicates()
    heads = nodes["node"].str.extract(HEAD_NAME).dropna().astype("int16")
    return nodes.loc[heads.index, _AT].join(heads)
