"""Gradients at every receiver's own input, from one ordinary forward and backward pass.

A head's query, key and value each read the residual stream through LayerNorm and one
matrix. The gradient at the query (key, value) vector of one head therefore gives the
gradient at that head's input: through the matrix, then through LayerNorm. The residual
stream need not be copied for every receiver to get the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.graph import PORTS
from circuitlapse.hooks import end_logits, recorder
from circuitlapse.metrics import per_prompt_metric
from circuitlapse.prompts import PromptPairs


def receiver_gradients(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    embed: Float[Tensor, "pair pos d_model"],
    metric: str,
) -> Float[Tensor, "pair pos target d_model"]:
    """Return the gradient of minus the metric at every target's input.

    Args:
        model: weights need no gradient.
        pairs: the clean tokens are fed, the clean answers are scored.
        embed: replaces the output of the embedding.
        metric: see `circuitlapse.metrics`.
    """
    got: dict[str, Tensor] = {}
    names = [name for layer in range(model.cfg.n_layers) for name in _hook_names(layer)]
    hooks: list[Any] = [(name, recorder(got, name)) for name in [*names, "ln_final.hook_in"]]
    start = embed.detach().clone().requires_grad_(True)
    hooks.append(("embed.hook_out", lambda x, hook: start))  # noqa: ARG005
    with torch.enable_grad():
        logits = end_logits(model, pairs.clean, pairs=pairs, hooks=hooks)
        loss = -per_prompt_metric(logits, pairs, metric=metric).sum()
        wanted = [name for name in got if not name.endswith(("ln1.hook_in", "ln2.hook_in"))]
        grads = torch.autograd.grad(loss, [got[name] for name in wanted])
    at = dict(zip(wanted, grads, strict=True))
    parts = [part for layer in range(model.cfg.n_layers) for part in _layer(model, layer, got, at)]
    return torch.cat([*parts, at["ln_final.hook_in"][:, :, None]], dim=2).detach()


def _hook_names(layer: int) -> list[str]:
    kinds = ("ln1.hook_in", "ln2.hook_in", "ln2.hook_out", *(f"attn.{p}.hook_out" for p in PORTS))
    return [f"blocks.{layer}.{kind}" for kind in kinds]


def _layer(
    model: TransformerBridge, layer: int, got: dict[str, Tensor], at: dict[str, Tensor]
) -> list[Float[Tensor, "pair pos _ d_model"]]:
    """Return the gradients at q, k, v of all heads and at the MLP of one layer, in order."""
    block, prefix = model.blocks[layer], f"blocks.{layer}"
    weights = (block.attn.W_Q, block.attn.W_K, block.attn.W_V)
    at_ln1_out = torch.cat(
        [
            torch.einsum("bthe,hde->bthd", at[f"{prefix}.attn.{port}.hook_out"], weight)
            for port, weight in zip(PORTS, weights, strict=True)
        ],
        dim=2,
    )
    at_ln2_out = at[f"{prefix}.ln2.hook_out"][:, :, None]
    return [
        through_layer_norm(at_ln1_out, x=got[f"{prefix}.ln1.hook_in"], norm=block.ln1),
        through_layer_norm(at_ln2_out, x=got[f"{prefix}.ln2.hook_in"], norm=block.ln2),
    ]


def through_layer_norm(
    grad: Float[Tensor, "pair pos receiver d_model"],
    *,
    x: Float[Tensor, "pair pos d_model"],
    norm: Any,
) -> Float[Tensor, "pair pos receiver d_model"]:
    """Carry gradients at the output of a LayerNorm back to its input `x`, one per receiver.

    With xhat the normalised x, s its scale and ghat = gain * grad, the result is
    (ghat - mean(ghat) - xhat mean(xhat ghat)) / s.
    """
    variance: Tensor
    mean: Tensor
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    scale = (variance + norm.original_component.eps).sqrt()
    xhat = ((x - mean) / scale)[:, :, None]
    ghat: Tensor = norm.original_component.weight * grad
    projection = (ghat * xhat).mean(-1, keepdim=True)
    centred: Tensor = ghat - ghat.mean(-1, keepdim=True) - xhat * projection
    grad_in: Tensor = centred / scale[:, :, None]
    return grad_in
