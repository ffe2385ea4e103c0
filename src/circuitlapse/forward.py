"""One forward pass of a decoder, with everything in it at hand.

The pass calls the modules of the model, so its numbers are the model's. It differs from
calling the model in that its parts can be kept, replaced and differentiated without hooks,
and that only the residual stream at the end position is unembedded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.attention import mix

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
    return embed + weight[: embed.shape[1]]


def run_layers(
    model: TransformerBridge, embed: Float[Tensor, "pair pos d_model"], *, edit: Edit | None = None
) -> list[LayerTrace]:
    """Run all layers on the output of the embedding; padding on the right needs no mask."""
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
    normed = layer_norm(resid_end, model.ln_final)
    unembed = model.unembed.original_component
    if tokens is None:
        logits: Tensor = unembed(normed)
        return logits
    bias = None if unembed.bias is None else unembed.bias[tokens]
    return linear(normed, unembed.weight[tokens], bias)


def layer_norm(x: Float[Tensor, "... d_model"], norm: Any) -> Float[Tensor, "... d_model"]:
    """Return what a LayerNorm of the model makes of `x`, without the hooks around it."""
    normed: Tensor = norm.original_component(x)
    return normed


def at_end(x: Float[Tensor, "pair pos ..."], end: Int[Tensor, " pair"]) -> Tensor:
    """Return the end position of every prompt [pair, ...]."""
    rows: Tensor = x.take_along_dim(end.view(-1, *[1] * (x.ndim - 1)), 1)[:, 0]
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
    per_head = [port.unflatten(-1, (model.cfg.n_heads, -1)).movedim(2, 0) for port in ports]
    z, pattern = mix(model, *per_head)
    z = z.movedim(0, 2)
    z = edit(layer, "z", z) if edit else z
    attn_out = block.attn.o(z.flatten(2))
    mlp_resid = resid if model.cfg.parallel_attn_mlp else resid + attn_out
    mlp_in = layer_norm(mlp_resid, block.ln2)
    mlp_out = block.mlp(mlp_in)
    mlp_out = edit(layer, "mlp_out", mlp_out) if edit else mlp_out
    return LayerTrace(resid, ports, pattern.movedim(0, 1), z, attn_out, mlp_resid, mlp_in, mlp_out)
