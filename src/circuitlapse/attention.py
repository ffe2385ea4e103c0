"""Attention: of heads that share one input, or of heads that each have inputs of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers.models.gpt_neox.modeling_gpt_neox import rotate_half


@dataclass(frozen=True, eq=False)
class HeadInputs:
    """Normalised inputs of some heads of one layer, one entry per head in each list.

    Attributes:
        heads: index of each head; a head may come more than once.
        query: inputs [pair, pos, d_model], or [pair, 1, d_model] at the end position.
        key, value: inputs [pair, pos, d_model].
    """

    heads: list[int]
    query: list[Float[Tensor, "pair query d_model"]]
    key: list[Float[Tensor, "pair pos d_model"]]
    value: list[Float[Tensor, "pair pos d_model"]]


def attend(
    model: TransformerBridge, layer: int, inputs: HeadInputs, *, end: Int[Tensor, " pair"] | None
) -> Float[Tensor, "job pair query d_head"]:
    """Return what each head mixes from its values (z).

    Args:
        model: from `load_model`.
        layer: of all heads.
        inputs: of the heads.
        end: the position of the queries when there is one per prompt; None for all positions.
    """
    attn = model.blocks[layer].attn
    query = _project(inputs.query, attn.W_Q, attn.b_Q, inputs.heads)
    key = _project(inputs.key, attn.W_K, attn.b_K, inputs.heads)
    value = _project(inputs.value, attn.W_V, attn.b_V, inputs.heads)
    return mix(model, query, key, value, at=None if end is None else end[:, None])[0]


def mix(
    model: TransformerBridge,
    query: Float[Tensor, "job pair query d_head"],
    key: Float[Tensor, "job pair pos d_head"],
    value: Float[Tensor, "job pair pos d_head"],
    *,
    at: Int[Tensor, "pair query"] | None = None,
) -> tuple[Float[Tensor, "job pair query d_head"], Float[Tensor, "job pair query pos"]]:
    """Return z and the attention pattern of each head, from its vectors before rotation.

    Queries stand at the positions `at`, or else at all positions.
    """
    positions = torch.arange(key.shape[2], device=key.device)
    if at is None:
        at = positions.expand(key.shape[1], -1)
    if model.cfg.positional_embedding_type == "rotary":
        cos, sin = rotary_angles(model, positions)
        query, key = _rotate(query, cos[at], sin[at]), _rotate(key, cos, sin)
    scores = query @ key.mT * model.cfg.d_head**-0.5
    scores = scores.masked_fill(positions > at[..., None], -torch.inf)
    pattern = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return pattern @ value, pattern


def rotary_angles(
    model: TransformerBridge, positions: Int[Tensor, " pos"]
) -> tuple[Float[Tensor, "pos rotary"], Float[Tensor, "pos rotary"]]:
    """Return cosine and sine of every position, as the model's own rotary embedding has them."""
    rotary: Any = model.original_model.gpt_neox.rotary_emb.original_component
    like = torch.zeros((), dtype=model.cfg.dtype, device=positions.device)
    cos, sin = rotary(like, positions[None])
    return cos[0], sin[0]


def _rotate(
    x: Float[Tensor, "job pair pos d_head"],
    cos: Float[Tensor, "*pair pos rotary"],
    sin: Float[Tensor, "*pair pos rotary"],
) -> Float[Tensor, "job pair pos d_head"]:
    turned, passed = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    return torch.cat([turned * cos + rotate_half(turned) * sin, passed], dim=-1)


def _project(
    inputs: list[Float[Tensor, "pair pos d_model"]],
    weight: Float[Tensor, "head d_model d_head"],
    bias: Float[Tensor, "head d_head"],
    heads: list[int],
) -> Float[Tensor, "job pair pos d_head"]:
    """Multiply each input with the weight of its head.

    One product per head, on views: gathering the weights first would copy as much as it reads.
    """
    out = inputs[0].new_empty(len(heads), *inputs[0].shape[:-1], weight.shape[-1])
    for row, head, x in zip(out, heads, inputs, strict=True):
        torch.addmm(bias[head], x.flatten(0, 1), weight[head], out=row.flatten(0, 1))
    return out
