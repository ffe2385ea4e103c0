"""The scores of all heads over training, and whether each head is part of a circuit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from circuitlapse.models.graph import HEAD_NAME
from circuitlapse.schemas import COMPONENTS, HEADS
from circuitlapse.tables.circuits import concatenated, in_order
from circuitlapse.tables.masking import lacks_behaviour
from circuitlapse.types import Status


class Score(NamedTuple):
    """What a score is about."""

    builder: str
    """The built-in task that such heads are known from."""
    unit: str


_ATTENTION, _SHARE, _EFFECT = "probability", "share", "share of the drop to the corrupted level"
SCORES: Mapping[str, Score] = {
    "induction": Score("greater_than", _ATTENTION),
    "prev_token": Score("ioi", _ATTENTION),
    "duplicate": Score("ioi", _ATTENTION),
    "copy": Score("ioi", "%"),
    "copy_neg": Score("ioi", "%"),
    "attn_io": Score("ioi", _ATTENTION),
    "attn_s1": Score("ioi", _ATTENTION),
    "attn_s2": Score("ioi", _ATTENTION),
    "cspa": Score("ioi", _SHARE),
    "succession": Score("greater_than", _SHARE),
    "e_logits": Score("ioi", _EFFECT),
    "e_nm_q": Score("ioi", _EFFECT),
    "e_s2i_v": Score("ioi", _EFFECT),
}
"""Every score of heads, those of path patching included."""

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
    tasks = {name: built.get(score.builder) or score.builder for name, score in SCORES.items()}
    rows["task"] = rows["score"].map(tasks)
    rows["unit"] = rows["score"].map({name: score.unit for name, score in SCORES.items()})
    rows["in_circuit"] = _in_circuit(rows, summary, edges)
    undefined = (rows["unit"] == _EFFECT) & lacks_behaviour(rows, summary)
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
