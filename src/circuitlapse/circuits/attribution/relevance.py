"""RelP: attribution patching whose gradients follow rules of layer-wise relevance propagation.

`propagating` returns a model that computes the same outputs, but whose gradients are the
propagation coefficients of relevance patching (arXiv 2508.21258):

- a norm divides by its scale as by a constant (LN rule);
- an activation function f multiplies its input x by the constant f(x) / x (identity rule);
- of a product of an activated gate and a linear part, half goes to each of them (half rule).

Attention keeps its ordinary gradient, as in the authors' implementation without its AH rule: with
that rule, which takes attention as constant, no edge into a query or a key would have a score.

Where attention does not depend on the prompt and there is no bias, the result is linear, and
relevance is conserved: what an embedding, an activation or an edge passes on adds up to the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from circuitlapse.circuits.attribution.interpolation import Line, Point, input_scores
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.layers import ACTIVATIONS, Attention, Mlp, Norm
from circuitlapse.models.metrics import at_least_float32

NEAR_ZERO = 1e-6
"""Stands in for an input of 0 of an activation function f: f(x) / x has a limit there."""


def propagating(model: Decoder) -> Decoder:
    """Return a model with the same outputs whose gradients are propagation coefficients."""
    blocks = tuple(_block(block) for block in model.blocks)
    return replace(model, blocks=blocks, ln_final=FrozenNorm(**vars(model.ln_final)))


def relevance_scores(
    model: Decoder, line: Line, *, points: Sequence[Point], runs_at_once: int
) -> Float[Tensor, "set source target"]:
    """Return scores summed over sets of prompts; see `input_scores`."""
    return input_scores(propagating(model), line, points=points, runs_at_once=runs_at_once)


class FrozenNorm(Norm):
    """A norm whose scale is a constant to autograd."""

    def __call__(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the normalised input, with gain and bias."""
        wide = at_least_float32(x)  # as the norms of PyTorch compute
        plain = self.centre(wide) / self.scale(wide)[..., None]
        return (plain * self.gain(wide) + self.offset(wide)).to(x.dtype)

    def scale(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Return what the input is divided by, without a gradient."""
        return super().scale(x).detach()

    def normalised(
        self, x: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch 1"]]:
        """Return 0, as the scale grows in no direction, and the scale, both in float32."""
        return torch.zeros_like(x, dtype=torch.float32), self.scale(x.float())[..., None]


class PropagatingMlp(Mlp):
    """An MLP with the identity rule, and with the half rule if it is gated."""

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return what the MLP makes of its normalised input."""
        hidden = linear(x, self.w_in, self.b_in)
        if self.w_gate is None:
            hidden = self._activated(hidden)
        else:
            half = self._activated(linear(x, self.w_gate, self.b_gate)) * hidden / 2
            hidden = half + half.detach()
        out = linear(hidden, self.w_out, self.b_out)
        return out if self.norm_after is None else self.norm_after(out)

    def _activated(self, x: Tensor) -> Tensor:
        fixed = torch.where(x == 0, NEAR_ZERO, at_least_float32(x.detach()))
        return x * (ACTIVATIONS[self.activation](fixed) / fixed).to(x.dtype)


def _block(block: Block) -> Block:
    mlp = vars(block.mlp) | {"norm_after": _frozen(block.mlp.norm_after)}
    ln1, ln2 = (FrozenNorm(**vars(norm)) for norm in (block.ln1, block.ln2))
    return Block(ln1, _attention(block.attn), ln2, PropagatingMlp(**mlp))


def _attention(attn: Attention) -> Attention:
    norms = (attn.q_norm, attn.k_norm, attn.norm_after)
    if not any(norms):
        return attn  # it keeps what it has computed from its weights
    q_norm, k_norm, norm_after = map(_frozen, norms)
    return replace(attn, q_norm=q_norm, k_norm=k_norm, norm_after=norm_after)


def _frozen(norm: Norm | None) -> FrozenNorm | None:
    return None if norm is None else FrozenNorm(**vars(norm))
