"""The graph of roles: what the heads of one role do, together, to those of another.

Its nodes are roles, previous-token heads and the logits. An edge is the effect of `patch_paths`
with all heads of the source as one sender, and one port of all heads of the target as receivers.
So an edge does not say which head has which role: a role that moves to other heads keeps its edges.

The cost does not grow with the number of heads. An edge has 1 + `N_DRAWS` senders at most, and each
costs about a forward pass over all prompts, or less; two passes more are shared by all. With all
roles that is fewer than 430 passes for the 71 edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.heads.algorithm.case import Case
from circuitlapse.heads.matched_heads import Heads, draws_of_same_layers
from circuitlapse.heads.path_patching import PatchedPaths, Receivers
from circuitlapse.models.graph import PORTS
from circuitlapse.models.load import all_heads
from circuitlapse.schemas import ROLE_GRAPH_NUMBERS
from circuitlapse.statistics import ratio_interval
from circuitlapse.types import LOGITS, PREVIOUS_TOKEN, Role
from circuitlapse.types.status import RoleGraphStatus

N_DRAWS = 5
"""Random sets of heads beside each source."""
SOURCES = (*map(str, Role), PREVIOUS_TOKEN)
LISTENING = (Role.NAME_MOVER, Role.S_INHIBITION, Role.INDUCTION)
"""The roles whose heads receive: those that the algorithm says are told something."""
ENDS = ((LOGITS, ""), *product(map(str, LISTENING), PORTS))
"""Target and port of every edge."""

Mask = Bool[ndarray, " head"]
Row = dict[str, Any]


def role_graph(case: Case, roles: Mapping[Role, Mask], *, able: bool) -> pd.DataFrame:
    """Return a row per source, target and port; a role is no target of itself.

    - `effect`: (m(patched) - m) / (m - m(corrupted)), with the heads of the source corrupted
      together on the way to the target; 0 is no effect, -1 a fall to the corrupted level. With
      its bootstrap interval over groups of prompts.
    - `null_mean`, `null_low`, `null_high`: the mean and the extremes of the same for random heads,
      as many in each layer as the source has. NaN where a layer has too few others.
    - `n_source`: heads of the source; `n_target`: those of the target that lie behind one of them,
      1 for the logits.
    - `status`: a `RoleGraphStatus`; all numbers are NaN unless it is `ok`.

    Args:
        case: the model and its prompts; its seed is that of the random heads.
        roles: the heads of each role; one that is not there has none.
        able: whether the model does the task.
    """
    nobody = np.zeros(len(case.layers), dtype=bool)
    masks = {str(role): roles.get(role, nobody) for role in Role}
    masks[PREVIOUS_TOKEN] = case.above_mean("prev_token") if able else nobody
    heads = {name: frozenset(case.heads(mask)) for name, mask in masks.items()}
    ends = [_edges(case, heads, masks, end, able=able) for end in ENDS]
    paths = iter(
        case.patch_many(
            [(end.receivers, [*chain(*end.senders.values())]) for end in ends if end.senders]
        )
    )
    rows = []
    for end in ends:
        measured = _measured(case, end.senders, next(paths)) if end.senders else {}
        rows += [row | measured.get(row["source"], {}) for row in end.rows]
    return pd.DataFrame(rows)


class _Edges(NamedTuple):
    """The edges to one port of a target."""

    rows: list[Row]
    """One per source, not measured yet."""
    receivers: Receivers
    senders: Mapping[str, list[Heads]]
    """Source -> its heads, then random ones; those of which the effect is defined."""


def _edges(
    case: Case,
    heads: Mapping[str, Heads],
    masks: Mapping[str, Mask],
    end: tuple[str, str],
    *,
    able: bool,
) -> _Edges:
    """Return the edges to one port of a target."""
    target, port = end
    rows, senders = [], dict[str, list[Heads]]()
    for source in SOURCES:
        if source == target:
            continue
        behind = _behind(heads[source], heads.get(target))
        row: Row = {"source": source, "target": target, "port": port}
        row |= {"n_source": len(heads[source]), "n_target": behind}
        status = _status(able, heads[source], heads.get(target), behind)
        rows.append(row | dict.fromkeys(ROLE_GRAPH_NUMBERS, np.nan) | {"status": str(status)})
        if status == RoleGraphStatus.OK:
            null = {"n_draws": N_DRAWS, "seed": case.seed}
            draws = draws_of_same_layers(heads[source], all_heads(case.model), **null)
            senders[source] = [heads[source], *draws]
    receivers: Receivers = "logits" if target == LOGITS else case.ports(masks[target], port)
    return _Edges(rows, receivers, senders)


def _behind(source: Heads, target: Heads | None) -> int:
    """Return how many heads of the target lie behind a head of the source."""
    if target is None:
        return 1
    first = min((layer for layer, _ in source), default=np.inf)
    return sum(layer > first for layer, _ in target)


def _status(able: bool, source: Heads, target: Heads | None, behind: int) -> RoleGraphStatus:
    reasons = {
        RoleGraphStatus.NO_BEHAVIOUR: not able,
        RoleGraphStatus.NO_SOURCE: not source,
        RoleGraphStatus.NO_TARGET: target is not None and not target,
        RoleGraphStatus.NO_PATH: not behind,
    }
    return next((status for status, holds in reasons.items() if holds), RoleGraphStatus.OK)


def _measured(
    case: Case, senders: Mapping[str, list[Heads]], paths: PatchedPaths
) -> dict[str, Row]:
    """Return the effect and its null for every source: its heads, and random ones."""
    change, span = (
        np.asarray(x.double().cpu().numpy())
        for x in (paths.patched - paths.clean, paths.clean - paths.corrupted)
    )  # [sender, prompt] and [prompt]
    found, start = {}, 0
    for source, sets in senders.items():
        own = change[start : start + len(sets)]
        found[source] = _effect(case, own, span)
        start += len(sets)
    return found


def _effect(
    case: Case, change: Float[ndarray, "sender prompt"], span: Float[ndarray, " prompt"]
) -> Row:
    """Return the effect of the first sender, and what the others, drawn at random, have."""
    effect, *null = change.mean(1) / span.mean()
    low, high = ratio_interval(change[0], span, case.bootstrap, case.pairs.groups)
    row = {"effect": effect, "effect_low": low, "effect_high": high}
    if null:
        row |= {"null_mean": np.mean(null), "null_low": min(null), "null_high": max(null)}
    return row
