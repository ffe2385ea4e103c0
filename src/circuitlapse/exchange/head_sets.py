"""Sets of heads by what they do, at the step that they are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import pandas as pd

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.heads.matched_heads import Heads
from circuitlapse.heads.naming import Naming
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import HeadSet, Role

SUCCESSOR = 0.4
"""Heads with a larger succession score count as successor heads."""


class _Known(NamedTuple):
    """What is known of the heads of one model at one step."""

    circuit: Heads
    roles: pd.DataFrame
    """The rows of `roles` for one task."""
    scores: pd.DataFrame
    """The rows of `heads`."""
    naming: Naming


def head_sets(
    record: CircuitRecord,
    *,
    builder: str,
    roles: pd.DataFrame,
    scores: pd.DataFrame,
    naming: Naming,
) -> dict[HeadSet, Heads]:
    """Return the sets of heads, (layer, head), that are swapped for a task.

    Every task has the heads of its circuit. The builder of a built-in task lists further sets. A
    set is empty where no head is known to belong to it.

    Args:
        record: the circuit of the task.
        builder: name of the task's builder, or `custom`.
        roles: the table `roles`; rows of other models, steps and tasks are ignored.
        scores: the table `heads`; rows of other models and steps are ignored.
        naming: which heads their induction score may name.
    """
    own = roles[_here(roles, record) & (roles["task"] == record.task)]
    known = _Known(record.heads, own, scores[_here(scores, record)], naming)
    further = BUILDERS[builder].head_sets if builder in BUILDERS else ()
    return {name: HEADS_OF[name](known) for name in (HeadSet.CIRCUIT, *further)}


def head_sets_by_step(
    records: Iterable[CircuitRecord],
    tasks: Iterable[Task],
    roles: pd.DataFrame,
    scores: pd.DataFrame,
    naming: Naming,
) -> dict[tuple[int, str], dict[HeadSet, Heads]]:
    """Return the `head_sets` of every record, by its step and its task's name."""
    builders = {task.name: task.builder for task in tasks}
    return {
        (record.step, record.task): head_sets(
            record, builder=builders[record.task], roles=roles, scores=scores, naming=naming
        )
        for record in records
    }


def _here(rows: pd.DataFrame, record: CircuitRecord) -> pd.Series[bool]:
    same_model = (rows["model"] == record.model) & (rows["variant"] == record.variant)
    return same_model & (rows["step"] == record.step)


def _of_circuit(known: _Known) -> Heads:
    return known.circuit


def _with_role(known: _Known, *, wanted: Iterable[Role]) -> Heads:
    return _heads(known.roles[known.roles["role"].isin(list(wanted))])


def _induction_or_successor(known: _Known) -> Heads:
    induction, succession = (
        known.scores[known.scores["score"] == name] for name in ("induction", "succession")
    )
    layer, value = (induction[name].to_numpy() for name in ("layer", "value"))
    may = known.naming.may_name("induction", layer, value)
    above_mean = _heads(induction[may & (value > induction["value"].mean())])
    return known.circuit & (above_mean | _heads(succession[succession["value"] > SUCCESSOR]))


def _heads(rows: pd.DataFrame) -> Heads:
    return frozenset((int(layer), int(head)) for layer, head in rows[["layer", "head"]].to_numpy())


HEADS_OF: Mapping[HeadSet, Callable[[_Known], Heads]] = {
    HeadSet.CIRCUIT: _of_circuit,
    HeadSet.NAME_MOVERS: partial(_with_role, wanted=(Role.NAME_MOVER,)),
    HeadSet.NAME_MOVERS_CS: partial(
        _with_role,
        wanted=(
            Role.NAME_MOVER,
            Role.NEGATIVE_NAME_MOVER,
            Role.COPY_SUPPRESSION,
            Role.NEGATIVE_COPY_SUPPRESSION,
        ),
    ),
    HeadSet.S2I: partial(_with_role, wanted=(Role.S_INHIBITION,)),
    HeadSet.INDUCTION_DUPLICATE: partial(_with_role, wanted=(Role.INDUCTION, Role.DUPLICATE_TOKEN)),
    HeadSet.INDUCTION_SUCCESSOR: _induction_or_successor,
}
"""Sets of heads -> how their heads are found."""
