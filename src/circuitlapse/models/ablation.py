"""Ablated outputs: what an edge outside the circuit carries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models.activations import Outputs, PairActivations, run_outputs
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import MIN_PROMPTS, Ablation


@dataclass(frozen=True, eq=False)
class Ablated:
    """The outputs that stand in for those of the clean run.

    Attributes:
        outputs: of every source, on every prompt and position.
        is_a_run: whether they are those of one run of the model, so that a node which only
            sees ablated outputs writes its ablated output itself.
    """

    outputs: Outputs
    is_a_run: bool

    def batch(self, start: int, stop: int) -> Ablated:
        """Return the prompts from `start` up to, not including, `stop`."""
        return Ablated(self.outputs.batch(start, stop), self.is_a_run)


def ablated_outputs(
    model: Decoder,
    pairs: PromptPairs,
    *,
    ablation: str,
    activations: PairActivations | None,
    limits: Limits,
) -> Ablated:
    """Return the outputs of the corrupted run, their mean over the clean prompts, or zeros.

    The mean is over the clean prompts at the same position, counted from the start. Positions that
    few prompts reach take the mean over all positions of all prompts: see `_mean`. The output bias
    of attention belongs to no source and always stays.

    Raises:
        UnknownNameError: if `ablation` is unknown.
    """
    if ablation not in set(Ablation):
        raise UnknownNameError(unknown_name("ablation", ablation, Ablation))
    if ablation == Ablation.ZERO:
        return Ablated(_zero(model, pairs), is_a_run=False)
    side = "corrupted" if ablation == Ablation.CORRUPTED else "clean"
    if activations is not None:
        run: Outputs = getattr(activations, side).outputs(model)
    else:
        run = run_outputs(model, pairs, side=side, limits=limits)
    if ablation == Ablation.CORRUPTED:
        return Ablated(run, is_a_run=True)
    return Ablated(run.map(lambda part: _mean(part, pairs.attention_mask)), is_a_run=False)


def _zero(model: Decoder, pairs: PromptPairs) -> Outputs:
    cfg, shape = model.cfg, pairs.clean.shape  # [prompt, pos]
    bias = torch.stack([block.attn.b_O for block in model.blocks])  # [layer, d_model]
    zero = bias.new_zeros(())  # expanded views of one number take no memory
    return Outputs(
        embed=zero.expand(*shape, cfg.d_model),
        z=zero.expand(*shape, cfg.n_layers, cfg.n_heads, cfg.d_head),
        mlp_out=zero.expand(*shape, cfg.n_layers, cfg.d_model),
        attn_out=bias.expand(*shape, *bias.shape),
    )


def _mean(
    part: Float[Tensor, "prompt pos ..."], real: Bool[Tensor, "prompt pos"]
) -> Float[Tensor, "prompt pos ..."]:
    """Return the mean over prompts at each position; padding does not count.

    A position counts if at least `MIN_PROMPTS` prompts reach it, or all prompts if there are fewer.
    At a position that only one prompt reaches, the mean would be its own output, so that nothing
    would be ablated.
    """
    # [prompt, pos, 1, ...], to be broadcast over the other axes
    padding = ~real.view(*real.shape, *[1] * (part.ndim - 2))
    totals = part.masked_fill(padding, 0).sum(0, dtype=torch.float64)  # [pos, ...]
    n = real.sum(0).view(-1, *[1] * (part.ndim - 2))  # prompts that reach a position [pos, 1, ...]
    overall = totals.sum(0) / n.sum()  # [...]
    enough = n >= min(MIN_PROMPTS, len(part))
    mean = torch.where(enough, totals / n.clamp(min=1), overall).to(part.dtype)
    return mean[None].expand_as(part)  # [1, pos, ...] -> [prompt, pos, ...], a view
