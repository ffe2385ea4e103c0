"""Path patching: what reaches the logits, or other heads, from one head (arXiv 2211.00593).

Three runs define the effect of a sender on its receivers. Run 1: the clean and the corrupted
prompt. Run 2: the clean prompt, with the z of every head held at its clean value and that of the
sender taken from the corrupted run; MLPs and LayerNorms are recomputed, so that paths through
MLPs count as direct, or MLPs are held as well. Run 3: the clean prompt, with the receivers' values
from run 2, and all else recomputed. A sender is a head, or several heads whose z are taken from
the corrupted run together.

Attention is held in run 2, so no position sees another: only positions whose z may differ are
computed, and for the logits only the end. The senders go through the layers side by side, and
each joins in at the layer of its first head. Run 3 starts at the first receiver's layer. It
computes the same positions only, and the clean run gives the keys and values of those before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from circuitlapse.heads.path_patching.batches import Part, patch_in_batches
from circuitlapse.heads.path_patching.patch_plan import (
    HeadPort,
    PatchedPaths,
    PatchPlan,
    Receivers,
    Sender,
    as_sender,
    heads_of,
    make_plan,
)
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.graph import Head
from circuitlapse.models.load import all_heads
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import Metric

__all__ = [
    "Head",
    "HeadPort",
    "PatchedPaths",
    "Receivers",
    "Sender",
    "patch_many_paths",
    "patch_paths",
]


@torch.no_grad()
def patch_paths(
    model: Model,
    pairs: PromptPairs,
    *,
    receivers: Receivers,
    senders: Sequence[Head | Collection[Head]] | None = None,
    sender_positions: str = "all",
    freeze_mlps: bool = False,
    attention: bool = False,
    metric: str = Metric.LOGIT_DIFF,
    limits: Limits = AUTOMATIC,
) -> PatchedPaths:
    """Patch the path from each sender to all receivers together, sender by sender.

    Source: Wang et al. 2022 (arXiv 2211.00593), appendix B; Goldowsky-Dill et al. 2023
    (arXiv 2304.05969). A head reaches later layers only; `patched` is `clean` if a sender has no
    head with a receiver behind it.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: clean prompts, corrupted prompts and answers. The prompts of a pair should agree
            in their first tokens: what comes before the first difference costs nothing.
        receivers: `logits` for the final residual stream, or ports of heads.
        senders: each a head (layer, head), or a collection of heads, in any order, that are
            corrupted together and share a row of the result; None for every head by itself.
        sender_positions: where the sender's z is corrupted, `all` or the `end` position alone.
        freeze_mlps: hold MLPs in run 2 at their clean output; the reference recomputes them.
        attention: also return the receivers' attention from the end: at most 8 bytes for each
            sender, prompt, receiver and position.
        metric: see `per_prompt_metric`; with the logits of the clean run for `kl_divergence`.
        limits: prompts per pass; its memory also bounds how many senders go side by side.

    Raises:
        UnknownNameError: if `sender_positions`, a port or a word for `receivers` is unknown.
        ValueError: if a sender or a receiver is not in the model.
    """
    (paths,) = patch_many_paths(
        model,
        pairs,
        [(receivers, senders)],
        sender_positions=sender_positions,
        freeze_mlps=freeze_mlps,
        attention=attention,
        metric=metric,
        limits=limits,
    )
    return paths


@torch.no_grad()
def patch_many_paths(
    model: Model,
    pairs: PromptPairs,
    wanted: Sequence[tuple[Receivers, Sequence[Head | Collection[Head]] | None]],
    *,
    limits: Limits = AUTOMATIC,
    **how: Any,
) -> list[PatchedPaths]:
    """Patch the paths to several sets of receivers, which share run 1.

    Args:
        model: see `patch_paths`.
        pairs: likewise.
        wanted: receivers and their senders.
        limits: see `patch_paths`.
        how: all other arguments of `make_plan`.
    """
    if not wanted:
        return []
    model, asked, plans = as_decoder(model), [], []
    for receivers, senders in wanted:
        given = all_heads(model) if senders is None else senders
        asked.append([as_sender(sender) for sender in given])
        plans.append(make_plan(model, receivers=receivers, senders=asked[-1], **how))
    parts = patch_in_batches(model, pairs, plans, limits)
    return [_paths(*found) for found in zip(asked, plans, parts, strict=True)]


def _paths(asked: Sequence[Sender], plan: PatchPlan, part: Part) -> PatchedPaths:
    # The plan has its own order, and the same heads may be asked for twice.
    row_of = {heads: row for row, heads in enumerate(plan.senders)}
    rows = [row_of[heads_of(sender)] for sender in asked]
    return PatchedPaths(
        senders=tuple(asked),
        patched=part.patched[:, rows].T,  # [sender, prompt]
        clean=part.clean,
        corrupted=part.corrupted,
        attended=plan.attended,
        attention=part.attention[:, rows].movedim(1, 0),  # [sender, prompt, receiver, key]
        clean_attention=part.clean_attention,
    )
