"""Sets of heads by what they do, at the step that they are taken from."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.models.graph import Head
from circuitlapse.tasks.encode import Task
from circuitlapse.types import HeadSet

SUCCESSOR = 0.4
"""Heads with a larger succession score are taken for successor heads."""

_BY_ROLE = {
    HeadSet.NAME_MOVERS: ("NM",),
    HeadSet.NAME_MOVERS_CS: ("NM", "NegNM", "CS", "NegCS"),
    HeadSet.S2I: ("S2I",),
    HeadSet.INDUCTION_DUPLICATE: ("Ind", "Dup"),
}

Heads = frozenset[Head]


def head_sets(
    record: CircuitRecord, *, builder: str, roles: pd.DataFrame, scores: pd.DataFrame
) -> dict[HeadSet, Heads]:
    """Return the sets of heads, (layer, head), that are of interest for a task.

    Every task has the heads of its circuit; what made the prompts says what else there is. A set
    is empty where no head is known to belong to it.

    Args:
        record: the circuit of the task.
        builder: what made the prompts of the task.
        roles: the table `roles`; other models, steps and tasks in it are passed over.
        scores: the table `heads`; likewise.
    """
    sets: dict[HeadSet, Heads] = {HeadSet.CIRCUIT: record.heads}
    if builder == "ioi":
        own = roles[_here(roles, record) & (roles["task"] == record.task)]
        for name, wanted in _BY_ROLE.items():
            sets[name] = _heads(own[own["role"].isin(wanted)])
    if builder == "greater_than":
        own = scores[_here(scores, record)]
        sets[HeadSet.INDUCTION_SUCCESSOR] = record.heads & _induction_or_successor(own)
    return sets


def head_sets_by_step(
    records: Iterable[CircuitRecord],
    tasks: Iterable[Task],
    roles: pd.DataFrame,
    scores: pd.DataFrame,
) -> dict[tuple[int, str], dict[HeadSet, Heads]]:
    """Return the `head_sets` of every record, by its step and its task's name."""
    builders = {task.name: task.builder for task in tasks}
    return {
        (record.step, record.task): head_sets(
            record, builder=builders[record.task], roles=roles, scores=scores
        )
        for record in records
    }


def _here(rows: pd.DataFrame, record: CircuitRecord) -> pd.Series[bool]:
    same_model = (rows["model"] == record.model) & (rows["variant"] == record.variant)
    return same_model & (rows["step"] == record.step)


def _induction_or_successor(scores: pd.DataFrame) -> Heads:
    induction, succession = (
        scores[scores["score"] == name] for name in ("induction", "succession")
    )
    above_mean = induction["value"] > induction["value"].mean()
    return _heads(induction[above_mean]) | _heads(succession[succession["value"] > SUCCESSOR])


def _heads(rows: pd.DataFrame) -> Heads:
    return frozenset((int(layer), int(head)) for layer, head in rows[["layer", "head"]].to_numpy())
