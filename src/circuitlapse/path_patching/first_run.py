"""Run 1: the clean and the corrupted prompt, and where anything may differ from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.forward import LayerTrace, at_end, embed_tokens, run_layers
from circuitlapse.path_patching.plan import Plan
from circuitlapse.prompts import PromptPairs
from circuitlapse.readout import Readout


@dataclass(frozen=True, eq=False)
class Runs:
    """Run 1 of some prompts, and the positions at which anything may differ from it.

    Attributes:
        at: these positions, of which the last is the end [pair, window].
        clean_logits: see `Readout`.
    """

    model: TransformerBridge
    plan: Plan
    pairs: PromptPairs
    clean: list[LayerTrace]
    corrupted: list[LayerTrace]
    at: Int[Tensor, "pair window"]
    clean_logits: Float[Tensor, "pair vocab"] | None

    def window(self, x: Float[Tensor, "pair pos ..."]) -> Float[Tensor, "pair window ..."]:
        """Return the positions that are computed."""
        rows: Tensor = x.take_along_dim(self.at.view(*self.at.shape, *[1] * (x.ndim - 2)), 1)
        return rows

    def metric(self, resid_end: Float[Tensor, "sender pair d_model"]) -> Tensor:
        """Return the metric [sender, pair] of final residual streams."""
        n = len(resid_end)
        logits = None if self.clean_logits is None else self.clean_logits.repeat(n, 1)
        readout = Readout(
            self.model, self.pairs.repeat(n), metric=self.plan.metric, clean_logits=logits
        )
        return readout(resid_end.flatten(0, 1)).view(n, -1)

    def metric_of(self, layers: list[LayerTrace]) -> Float[Tensor, " pair"]:
        """Return the metric of a whole run."""
        return self.metric(at_end(layers[-1].after, self.pairs.end)[None])[0]

    def clean_attention(self) -> Float[Tensor, "pair receiver key"]:
        """Return the attention of the receivers from the end."""
        kept = [
            at_end(self.clean[layer].pattern[:, head], self.pairs.end)
            for layer, head in self.plan.attended
        ]
        shape = (len(self.pairs), 0, self.pairs.clean.shape[1])
        return torch.stack(kept, 1) if kept else self.clean[0].pattern.new_zeros(shape)


def first_runs(
    model: TransformerBridge,
    pairs: PromptPairs,
    plan: Plan,
    logits: Float[Tensor, "pair vocab"] | None,
) -> Runs:
    """Do run 1; `logits` are those of the clean run where the metric needs them."""
    clean, corrupted = (
        run_layers(model, embed_tokens(model, side)) for side in (pairs.clean, pairs.corrupted)
    )
    at = _window(pairs.end, window_width(pairs, plan))
    return Runs(model, plan, pairs, clean, corrupted, at, logits)


def window_width(pairs: PromptPairs, plan: Plan) -> int:
    """Return how many positions up to the end are computed: those of the pair that needs most."""
    if plan.end_only:
        return 1
    differs = (pairs.clean != pairs.corrupted) & pairs.attention_mask
    first = torch.where(differs.any(1), differs.int().argmax(1), pairs.end)
    return int((pairs.end - first).max()) + 1


def _window(end: Int[Tensor, " pair"], width: int) -> Int[Tensor, "pair window"]:
    """Return the last positions up to the end.

    Where that reaches beyond the start of a short prompt, its first position comes several times.
    """
    back = torch.arange(width - 1, -1, -1, device=end.device)
    return (end[:, None] - back).clamp(min=0)
