"""How much each head attends from the end of an IOI prompt to its names."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.heads.base import HeadScore, Subject, positions_of_names, with_names
from circuitlapse.models.batching import AUTOMATIC, Limits, bytes_per_run, in_batches
from circuitlapse.models.forward import embed_tokens, run_layers
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import NAME_ROLES

NAME_SCORES = tuple(f"attn_{role}" for role in NAME_ROLES)


@torch.no_grad()
def attention_to_names(subject: Subject, *, limits: Limits = AUTOMATIC) -> dict[str, HeadScore]:
    """Return `attn_io`, `attn_s1` and `attn_s2`: attention from the end to each name.

    Means over the clean prompts of attention probabilities, in 0..1; `n` is the number of
    prompts. A head that attends to all P tokens of a prompt alike has 1/P. A name mover attends
    more to io than to s1 and s2.

    Args:
        subject: without its `clean`, the clean prompts are run.
        limits: how many prompts go through at once.

    Raises:
        ValueError: if there are no pairs, or they lack the roles io, s1 and s2.

    Source: Wang et al. 2022 (arXiv 2211.00593), section 3.1. The reference implementation
    averages means of batches, which differs when the last batch is smaller.
    """
    pairs = with_names(subject.pairs)
    positions = positions_of_names(pairs)
    if subject.clean is not None:
        to_names = attention_from_end(subject.clean.pattern, pairs.end, positions)
    else:
        to_names = _run(subject, pairs, positions, limits=limits)
    # One mean over all prompts: a mean of batches would weigh a smaller last batch too much.
    means = to_names.double().mean(0).float().cpu()  # [role, layer, head]
    return {
        name: HeadScore(mean, len(pairs)) for name, mean in zip(NAME_SCORES, means, strict=True)
    }


def attention_from_end(
    pattern: Float[Tensor, "pair *batch query key"],
    end: Int[Tensor, " pair"],
    positions: Int[Tensor, "pair role"],
) -> Float[Tensor, "pair role *batch"]:
    """Return the attention that the end of each prompt pays to some positions."""
    rows = torch.arange(len(end), device=pattern.device)[:, None]  # [pair, 1]
    by_place = pattern.movedim((-2, -1), (1, 2))  # [pair, query, key, *batch]
    # The three indices broadcast to [pair, role], which replaces the first three dimensions.
    return by_place[rows, end[:, None].to(pattern.device), positions.to(pattern.device)]


def _run(
    subject: Subject, pairs: PromptPairs, positions: Int[Tensor, "pair role"], *, limits: Limits
) -> Float[Tensor, "pair role layer head"]:
    tokens = pairs.clean
    needed = bytes_per_run(subject.model, n_pos=tokens.shape[1])

    def attention(batch: slice) -> Float[Tensor, "pair role layer head"]:
        layers = run_layers(subject.model, embed_tokens(subject.model, tokens[batch]))
        where = (pairs.end[batch], positions[batch])
        return torch.stack([attention_from_end(one.pattern, *where) for one in layers], 2)

    size = limits.prompts(needed, device=tokens.device)
    parts = in_batches(len(pairs), size=size, work=attention, what="scoring attention to names")
    return torch.cat(parts)
