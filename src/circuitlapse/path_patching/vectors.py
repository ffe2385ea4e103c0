"""Vectors of heads and MLPs, of several senders at once."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.forward import layer_norm


def per_head(
    model: TransformerBridge, x: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows head d_head"]:
    """Return vectors of all heads, which lie side by side, one per head."""
    return x.reshape(*x.shape[:-1], model.cfg.n_heads, -1)


def mlp(block: Any, x: Float[Tensor, "row pair pos d_model"]) -> Tensor:
    """Return what the MLP of a block makes of the residual streams that it reads."""
    out: Tensor = block.mlp(layer_norm(x.flatten(0, 1), block.ln2))
    return out.view_as(x)
