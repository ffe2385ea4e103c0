"""Path patching in batches of prompts and of senders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.heads.path_patching.patch_plan import PatchPlan
from circuitlapse.heads.path_patching.runs import Runs, first_runs, receive, send, window_width
from circuitlapse.models.activations import clean_logits
from circuitlapse.models.batching import (
    Limits,
    bytes_of_logits,
    bytes_per_number,
    bytes_per_run,
    in_batches_of_runs,
)
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.metrics import needs_clean_logits
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import Metric


class Part(NamedTuple):
    """The results of some prompts, prompts first."""

    patched: Float[Tensor, "pair sender"]
    attention: Float[Tensor, "pair sender receiver key"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    clean_attention: Float[Tensor, "pair receiver key"]


def patch_in_batches(
    model: Decoder, pairs: PromptPairs, plans: Sequence[PatchPlan], limits: Limits
) -> list[Part]:
    """Do all three runs for all prompts and senders; plans of one metric share run 1."""
    needs_logits = needs_clean_logits(plans[0].metric)
    logits = clean_logits(model, pairs, limits=limits) if needs_logits else None
    device, n_pos = pairs.clean.device, pairs.clean.shape[1]
    size = limits.prompts(4 * bytes_per_run(model, n_pos=n_pos), device=device)
    size = min(size, len(pairs))
    # Run 1 of `size` prompts takes half of the memory, run 2 and 3 of `room` rows the other half;
    # a row is one sender on one prompt. `batch_size` is about prompts and does not bound rows.
    most = []
    for plan in plans:
        row = _bytes_per_row(model, plan, n_pos=n_pos, width=window_width(pairs, plan))
        room = replace(limits, batch_size=None).prompts(2 * row, device=device)
        most.append(max(1, min(room // size, len(plan.reaching))))

    def work(batch: slice, senders: int) -> list[Part]:
        rows = None if logits is None else logits[batch]
        runs = first_runs(model, pairs.batch(batch.start, batch.stop), plans[0], rows)
        return [
            _patch(runs.of_plan(plan), min(senders, least))
            for plan, least in zip(plans, most, strict=True)
        ]

    parts = in_batches_of_runs(
        len(pairs), size=size, runs=max(most), work=work, what="patching paths"
    )
    by_plan = zip(*parts, strict=True)  # each a part per batch; pairs come first
    return [Part(*(torch.cat(column) for column in zip(*of, strict=True))) for of in by_plan]


def _patch(runs: Runs, n_at_once: int) -> Part:
    """Patch from `n_at_once` senders at a time; those without a receiver change nothing."""
    plan, clean, attention = runs.plan, runs.metric_of(runs.clean), runs.clean_attention()
    patched = clean[:, None].repeat(1, len(plan.senders))  # [pair, sender]
    attended = attention[:, None].repeat(
        1, len(plan.senders), 1, 1
    )  # [pair, sender, receiver, key]
    for start in range(0, len(plan.reaching), n_at_once):
        senders = plan.reaching[start : start + n_at_once]
        rows = slice(start, start + len(senders))
        received, resid = send(runs, senders)
        if plan.receivers is not None:
            resid, seen = receive(runs, received, len(senders))
            attended[:, rows] = seen.movedim(1, 0)  # [sender, pair, ...] -> [pair, sender, ...]
        patched[:, rows] = runs.metric(resid[:, :, -1]).T  # the last position is the end
    return Part(patched, attended, clean, runs.metric_of(runs.corrupted), attention)


def _bytes_per_row(model: Decoder, plan: PatchPlan, *, n_pos: int, width: int) -> int:
    """Return an estimate of what one sender needs for one prompt."""
    cfg = model.cfg
    at_window = (9 + plan.side_by_side) * cfg.d_model + 3 * cfg.d_mlp + 3 * cfg.n_heads * n_pos
    received = len(plan.receivers or ()) * cfg.d_head
    numbers = int(width * (at_window + received) + 6 * n_pos * cfg.d_model)
    logits = 0 if plan.metric == Metric.LOGIT_DIFF else bytes_of_logits(model)
    return bytes_per_number(model) * numbers + logits
