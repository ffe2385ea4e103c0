"""A forward pass of a decoder that keeps, edits or differentiates its parts without hooks.

The pass calls the modules of the model, so its numbers are the model's. Only the residual stream
at the end position is unembedded: the logits of other positions are never needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear
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
    query = _project(inputs.query, attn.W_Q, attn.b_Q, inputs.heads)  # [job, pair, query, d_head]
    key = _project(inputs.key, attn.W_K, attn.b_K, inputs.heads)  # [job, pair, pos, d_head]
    value = _project(inputs.value, attn.W_V, attn.b_V, inputs.heads)  # [job, pair, pos, d_head]
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
        at = positions.expand(key.shape[1], -1)  # [pair, query], every position asks
    if model.cfg.positional_embedding_type == "rotary":
        cos, sin = rotary_angles(model, positions)
        # Queries may stand at other positions in every prompt: cos[at] is [pair, query, rotary].
        query, key = _rotate(query, cos[at], sin[at]), _rotate(key, cos, sin)
    scores = query @ key.mT * model.cfg.d_head**-0.5  # [job, pair, query, pos]
    # The causal mask also hides padding, which stands to the right of every real query.
    scores = scores.masked_fill(positions > at[..., None], -torch.inf)
    # In float32 for every format of the weights, as GPT-NeoX does in transformers.
    pattern = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return pattern @ value, pattern


def rotary_angles(
    model: TransformerBridge, positions: Int[Tensor, " pos"]
) -> tuple[Float[Tensor, "pos rotary"], Float[Tensor, "pos rotary"]]:
    """Return cosine and sine of every position, as the model's own rotary embedding has them."""
    rotary: Any = model.original_model.gpt_neox.rotary_emb.original_component
    like = torch.zeros((), dtype=model.cfg.dtype, device=positions.device)
    cos, sin = rotary(like, positions[None])
    return cos[0], sin[0]  # drop the batch axis of one: [pos, rotary]


def _rotate(
    x: Float[Tensor, "job pair pos d_head"],
    cos: Float[Tensor, "*pair pos rotary"],
    sin: Float[Tensor, "*pair pos rotary"],
) -> Float[Tensor, "job pair pos d_head"]:
    # Only the first `rotary` channels carry positions (a quarter of them in Pythia).
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
    for row, head, x in zip(out, heads, inputs, strict=True):  # row, x: [pair, pos, ...]
        torch.addmm(bias[head], x.flatten(0, 1), weight[head], out=row.flatten(0, 1))
    return out


Edit = Callable[[int, str, Tensor], Tensor]
"""(layer, `z` or `mlp_out`, what was computed) -> what is used instead."""


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What one layer computed.

    Attributes:
        resid: residual stream that attention reads.
        ports: query, key and value vectors before rotary embedding, heads side by side.
        pattern: attention probabilities.
        z: what each head mixed from its values.
        attn_out: sum of all heads' outputs and the output bias.
        mlp_resid: residual stream that the MLP reads.
        mlp_in: the same after LayerNorm.
        mlp_out: output of the MLP.
    """

    resid: Float[Tensor, "pair pos d_model"]
    ports: tuple[Float[Tensor, "pair pos d_model"], ...]
    pattern: Float[Tensor, "pair head query key"]
    z: Float[Tensor, "pair pos head d_head"]
    attn_out: Float[Tensor, "pair pos d_model"]
    mlp_resid: Float[Tensor, "pair pos d_model"]
    mlp_in: Float[Tensor, "pair pos d_model"]
    mlp_out: Float[Tensor, "pair pos d_model"]

    @property
    def after(self) -> Float[Tensor, "pair pos d_model"]:
        """Residual stream after this layer."""
        return self.resid + self.attn_out + self.mlp_out


def embed_tokens(
    model: TransformerBridge, tokens: Int[Tensor, "pair pos"]
) -> Float[Tensor, "pair pos d_model"]:
    """Return the output of the token embedding."""
    embed: Tensor = model.embed(tokens)
    return embed


def start_of_stream(
    model: TransformerBridge, embed: Float[Tensor, "pair pos d_model"]
) -> Float[Tensor, "pair pos d_model"]:
    """Return the residual stream that the first layer reads.

    Learned position embeddings are added here. They belong to no source: like a bias, they are
    the same in every run.
    """
    if model.cfg.positional_embedding_type != "standard":
        return embed
    weight: Tensor = model.pos_embed.original_component.weight
    return embed + weight[: embed.shape[1]]  # [pos, d_model] is added to every pair


def run_layers(
    model: TransformerBridge, embed: Float[Tensor, "pair pos d_model"], *, edit: Edit | None = None
) -> list[LayerTrace]:
    """Run all layers on the output of the embedding; the causal mask hides padding on the right."""
    resid, layers = start_of_stream(model, embed), []
    for layer in range(model.cfg.n_layers):
        layers.append(_run_layer(model, layer, resid, edit))
        resid = layers[-1].after
    return layers


def end_logits(
    model: TransformerBridge,
    resid_end: Float[Tensor, "pair d_model"],
    *,
    tokens: Int[Tensor, " token"] | None = None,
) -> Float[Tensor, "pair vocab"]:
    """Return the logits of final residual streams: last LayerNorm and unembedding.

    Args:
        model: from `load_model`.
        resid_end: final residual stream, at the end position.
        tokens: those whose logits are needed; None for the whole vocabulary.
    """
    normed = layer_norm(resid_end, model.ln_final)  # [pair, d_model]
    unembed = model.unembed.original_component
    if tokens is None:
        logits: Tensor = unembed(normed)
        return logits
    bias = None if unembed.bias is None else unembed.bias[tokens]
    return linear(normed, unembed.weight[tokens], bias)  # [pair, token]


def layer_norm(x: Float[Tensor, "... d_model"], norm: Any) -> Float[Tensor, "... d_model"]:
    """Return what a LayerNorm of the model makes of `x`, without the hooks around it."""
    normed: Tensor = norm.original_component(x)
    return normed


def at_end(x: Float[Tensor, "pair pos ..."], end: Int[Tensor, " pair"]) -> Tensor:
    """Return the end position of every prompt [pair, ...]."""
    index = end.view(-1, *[1] * (x.ndim - 1))  # [pair, 1, ...], broadcast over the other axes
    rows: Tensor = x.take_along_dim(index, 1)[:, 0]
    return rows


def _run_layer(
    model: TransformerBridge,
    layer: int,
    resid: Float[Tensor, "pair pos d_model"],
    edit: Edit | None,
) -> LayerTrace:
    block = model.blocks[layer]
    normed = layer_norm(resid, block.ln1)
    ports = tuple(port(normed) for port in (block.attn.q, block.attn.k, block.attn.v))
    # Heads lie side by side in d_model; `mix` wants them in front: [head, pair, pos, d_head].
    per_head = [port.unflatten(-1, (model.cfg.n_heads, -1)).movedim(2, 0) for port in ports]
    z, pattern = mix(model, *per_head)
    z = z.movedim(0, 2)  # [pair, pos, head, d_head]
    z = edit(layer, "z", z) if edit else z
    attn_out = block.attn.o(z.flatten(2))  # [pair, pos, d_model]
    # With a parallel residual (Pythia) the MLP does not see the attention of its own layer.
    mlp_resid = resid if model.cfg.parallel_attn_mlp else resid + attn_out
    mlp_in = layer_norm(mlp_resid, block.ln2)
    mlp_out = block.mlp(mlp_in)
    mlp_out = edit(layer, "mlp_out", mlp_out) if edit else mlp_out
    return LayerTrace(resid, ports, pattern.movedim(0, 1), z, attn_out, mlp_resid, mlp_in, mlp_out)
