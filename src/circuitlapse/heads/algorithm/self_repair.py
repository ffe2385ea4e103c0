"""Self-repair: how much of the direct effect of a role others make up for when it is ablated.

The heads of a role get the output that they have on another prompt of the task (resample
ablation). The direct effect is what that changes at the logits if all else stays as it was, the
total effect what it changes if everything behind the heads reacts. What is missing of the direct
effect in the total one was repaired: by later heads or MLPs, or by the last LayerNorm.

Source: McGrath et al. 2023 (arXiv 2307.15771); Rushing and Nanda 2024 (arXiv 2402.15390).

The cost is 2 forward passes over all prompts, and for every different set of heads, roles and
random ones, a pass through the layers from its first head on: fewer than 50 in all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.heads.algorithm.case import Case
from circuitlapse.heads.matched_heads import Heads, draws_of_same_layers
from circuitlapse.models.batching import bytes_per_run, in_batches
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import (
    LayerTrace,
    at_end,
    embed_tokens,
    run_layers,
    run_layers_from,
)
from circuitlapse.models.graph import Head
from circuitlapse.models.load import all_heads
from circuitlapse.models.metrics import ResidualMetric
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import SELF_REPAIR_NUMBERS
from circuitlapse.statistics import Groups, bootstrap_interval, mean_interval, ratio_interval
from circuitlapse.types import MIN_PROMPTS, Metric, Role
from circuitlapse.types.status import SelfRepairStatus

N_DRAWS = 5
"""Random sets of heads beside each role."""
LEAST = 0.01
"""Smallest direct effect that a share is taken of; 1 is the drop to the corrupted level."""

Mask = Bool[ndarray, " head"]
Row = dict[str, Any]


class Changes(NamedTuple):
    """Change of the metric of every prompt when a set of heads is ablated."""

    direct: Float[ndarray, " prompt"]
    total: Float[ndarray, " prompt"]


def self_repair(
    case: Case, roles: Mapping[Role, Mask], span: Float[ndarray, " prompt"] | None
) -> pd.DataFrame:
    """Return a row per role.

    - `direct`, `total`: mean change of the metric over mean span, as all effects: -1 is a fall by
      as much as on corrupted prompts. With bootstrap intervals over groups of prompts.
    - `repaired`: 1 - total / direct, with its interval; NaN where the interval of `direct` contains
      0, or |`direct`| is below `LEAST`. Below 0 where more is lost than directly, as where later
      heads need what these write.
    - `null_repaired_mean`, `_low`, `_high`: mean and extremes of the same for random heads, as many
      in each layer; draws without such a direct effect are left out, and without any it is NaN.
    - `n_heads`; `n`: groups of prompts that have a partner, see `partners`.
    - `status`: a `SelfRepairStatus`.

    Args:
        case: the model and its prompts; its seed is that of partners and random heads.
        roles: the heads of each role; one that is not there has none.
        span: the clean metric minus the corrupted one; None if the model does not do the task.
    """
    heads = {role: frozenset(case.heads(mask)) for role, mask in roles.items() if mask.any()}
    kept, partner = partners(case.pairs, seed=case.seed)
    n, found = len(np.unique(case.pairs.groups[kept])), dict[Role, Row]()
    missing = SelfRepairStatus.NO_HEADS
    if span is None:
        missing = SelfRepairStatus.NO_BEHAVIOUR
    elif n < MIN_PROMPTS:
        missing = SelfRepairStatus.TOO_FEW_PROMPTS
    elif heads:
        pairs = replace(case.pairs, corrupted=case.pairs.clean[partner]).take(kept)
        found = _repairs(case, pairs, heads, span[kept])
    nothing: Row = dict.fromkeys(SELF_REPAIR_NUMBERS, np.nan) | {"status": str(missing)}
    rows = [
        {"role": str(role), "n_heads": len(heads.get(role, ())), "n": n}
        | (nothing | found.get(role, {}))
        for role in Role
    ]
    return pd.DataFrame(rows)


def partners(
    pairs: PromptPairs, *, seed: int
) -> tuple[Int[ndarray, " kept"], Int[ndarray, " prompt"]]:
    """Return the prompts that have a partner, ascending, and the partner of every prompt.

    Prompts of one length are put in a random order that keeps groups together, and each gets the
    output of the one that comes as many places later as the largest group has prompts: the prompt
    of another group, and every prompt once. Prompts of a length with fewer than twice as many have
    no partner; they stand for themselves.
    """
    rank = np.random.default_rng(seed).permutation(pairs.groups.max() + 1)[pairs.groups]
    partner, length = np.arange(len(pairs)), pairs.end.cpu().numpy()
    kept = []
    for one in np.unique(length):
        rows = np.flatnonzero(length == one)
        rows = rows[np.argsort(rank[rows], kind="stable")]
        largest = np.bincount(pairs.groups[rows]).max()
        if len(rows) >= 2 * largest:
            partner[rows] = np.roll(rows, -largest)
            kept.append(rows)
    return np.sort(np.concatenate([np.zeros(0, dtype=int), *kept])), partner


def _repairs(
    case: Case, pairs: PromptPairs, heads: Mapping[Role, Heads], span: Float[ndarray, " prompt"]
) -> dict[Role, Row]:
    """Return the numbers of the roles that have heads."""
    every, how = all_heads(case.model), {"n_draws": N_DRAWS, "seed": case.seed}
    draws = {role: draws_of_same_layers(own, every, **how) for role, own in heads.items()}
    sets = dict.fromkeys([*heads.values(), *(one for drawn in draws.values() for one in drawn)])
    changes = dict(zip(sets, ablate(case, pairs, [*sets]), strict=True))

    def interval(of: Float[ndarray, " prompt"]) -> tuple[float, float]:
        return ratio_interval(of, span, case.bootstrap, pairs.groups)

    found = {}
    for role, own in heads.items():
        row: Row = {}
        for name, change in changes[own]._asdict().items():
            low, high = interval(change)
            row |= {name: change.mean() / span.mean(), f"{name}_low": low, f"{name}_high": high}
        null = [
            _share(case, changes[draw], span, pairs.groups).get("repaired") for draw in draws[role]
        ]
        row |= _share(case, changes[own], span, pairs.groups)
        if known := [share for share in null if share is not None]:
            ends = {"mean": np.mean(known), "low": min(known), "high": max(known)}
            row |= {f"null_repaired_{name}": value for name, value in ends.items()}
        known_share = SelfRepairStatus.OK if "repaired" in row else SelfRepairStatus.NO_EFFECT
        found[role] = row | {"status": str(known_share)}
    return found


def _share(case: Case, changes: Changes, span: Float[ndarray, " prompt"], groups: Groups) -> Row:
    """Return the share of the direct effect that is repaired; nothing if that may be 0."""
    low, high = mean_interval(changes.direct, case.bootstrap, groups)
    # Not where the interval is NaN, either.
    if not low * high > 0 or abs(changes.direct.mean() / span.mean()) < LEAST:
        return {}
    low, high = bootstrap_interval(
        [changes.total, changes.direct],
        lambda total, direct: 1 - total / direct,
        case.bootstrap,
        groups,
    )
    share = 1 - changes.total.mean() / changes.direct.mean()
    return {"repaired": share, "repaired_low": low, "repaired_high": high}


@torch.no_grad()
def ablate(case: Case, pairs: PromptPairs, sets: Sequence[Collection[Head]]) -> list[Changes]:
    """Return what changes when the heads of each set get their output on the corrupted prompts.

    Both are changes of the metric of the clean prompts. For `direct`, all but the heads' own output
    at the end is held; for `total`, all that comes behind them reacts, at every position.
    """
    n_pos = pairs.clean.shape[1]
    size = case.limits.prompts(
        4 * bytes_per_run(case.model, n_pos=n_pos), device=pairs.clean.device
    )

    def work(batch: slice) -> Float[Tensor, "set kind pair"]:
        part = pairs.batch(batch.start, batch.stop)
        clean, other = (
            run_layers(case.model, embed_tokens(case.model, side))
            for side in (part.clean, part.corrupted)
        )
        metric = ResidualMetric(case.model, part, metric=Metric.LOGIT_DIFF)
        before = metric(at_end(clean[-1].after, part.end))
        ends = [_ends(case.model, part, clean, other, sorted(heads)) for heads in sets]
        return torch.stack([torch.stack([metric(end) - before for end in both]) for both in ends])

    parts = in_batches(len(pairs), size=size, work=work, what="ablating heads")
    every = torch.cat(parts, dim=2).double().cpu().numpy()
    return [Changes(*both) for both in every]


def _ends(
    model: Decoder,
    pairs: PromptPairs,
    clean: Sequence[LayerTrace],
    other: Sequence[LayerTrace],
    heads: Sequence[Head],
) -> tuple[Float[Tensor, "pair d_model"], Float[Tensor, "pair d_model"]]:
    """Return the final residual stream at the end: heads ablated directly, and with all behind."""
    of_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        of_layer.setdefault(layer, []).append(head)
    direct = at_end(clean[-1].after, pairs.end)
    for layer, here in of_layer.items():
        z = at_end(other[layer].z - clean[layer].z, pairs.end)[:, here]  # [pair, head, d_head]
        direct = direct + torch.einsum("phe,hed->pd", z, model.blocks[layer].attn.W_O[here])

    def edit(layer: int, kind: str, value: Tensor) -> Tensor:
        if kind != "z" or layer not in of_layer:
            return value
        value = value.clone()
        value[:, :, of_layer[layer]] = other[layer].z[:, :, of_layer[layer]]
        return value

    first = min(of_layer)
    run = run_layers_from(model, first, clean[first].resid, edit=edit)
    return direct, at_end(run[-1].after, pairs.end)
