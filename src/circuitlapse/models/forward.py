"""A forward pass of a decoder that keeps, edits or differentiates its parts without hooks.

Only the residual stream at the end position is unembedded: the logits of other positions are
never needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding, linear

from circuitlapse.errors import ModelError
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.layers import Attention


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
    attn: Attention, inputs: HeadInputs, *, end: Int[Tensor, " pair"] | None
) -> Float[Tensor, "job pair query d_head"]:
    """Return what each head mixes from its values; for attention without joint heads.

    Args:
        attn: of all these heads.
        inputs: of the heads.
        end: the position of the queries when there is one per prompt; None for all positions.
    """
    ports = (
        (inputs.query, attn.W_Q, attn.b_Q),
        (inputs.key, attn.W_K, attn.b_K),
        (inputs.value, attn.W_V, attn.b_V),
    )
    query, key, value = (  # each [job, pair, query or pos, d_head]
        multiply_heads(received, weight, inputs.heads, bias=bias)
        for received, weight, bias in ports
    )
    return mix(attn, query, key, value, at=None if end is None else end[:, None])[0]


def mix(
    attn: Attention,
    query: Float[Tensor, "job pair query d_head"],
    key: Float[Tensor, "job pair pos d_head"],
    value: Float[Tensor, "job pair pos d_head"],
    *,
    at: Int[Tensor, "pair query"] | None = None,
) -> tuple[Float[Tensor, "job pair query d_head"], Float[Tensor, "job pair query pos"]]:
    """Return what heads mix from their values, and their attention, from the vectors of `ports`.

    Queries stand at the positions `at`, or else at all positions. Where the heads of a layer are
    normalised together, the jobs must be all heads of the layer, in order.
    """
    pattern = attention(attn, query, key, at=at).to(value.dtype)
    return pattern @ attn.clipped(value), pattern


def attention(
    attn: Attention,
    query: Float[Tensor, "job pair query d_head"],
    key: Float[Tensor, "job pair pos d_head"],
    *,
    at: Int[Tensor, "pair query"] | None = None,
) -> Float[Tensor, "job pair query pos"]:
    """Return attention probabilities in float32; see `mix`."""
    query, key = attn.clipped(query), attn.clipped(key)
    query, key = attn.normalised(query, attn.q_norm), attn.normalised(key, attn.k_norm_of_heads)
    positions = torch.arange(key.shape[2], device=key.device)
    if at is None:
        at = positions.expand(key.shape[1], -1)  # [pair, query], every position asks
    if attn.rotary is not None:
        cos, sin = attn.rotary.angles(len(positions), key.dtype)
        # Queries may stand at other positions in every prompt: cos[at] is [pair, query, rotary].
        query, key = _rotate(query, cos[at], sin[at]), _rotate(key, cos, sin)
    scale = attn.d_head**-0.5 / attn.score_divisor
    scores = query @ key.mT * scale  # [job, pair, query, pos]
    # The causal mask also hides padding, which stands to the right of every real query.
    scores = scores.masked_fill(positions > at[..., None], -torch.inf)
    # In float32 for every format of the weights, as transformers does.
    pattern: Tensor = scores.softmax(-1, dtype=torch.float32)
    return pattern


def _rotate(
    x: Float[Tensor, "job pair pos d_head"],
    cos: Float[Tensor, "*pair pos rotary"],
    sin: Float[Tensor, "*pair pos rotary"],
) -> Float[Tensor, "job pair pos d_head"]:
    # Only the first `rotary` channels carry positions (a quarter of them in Pythia).
    turned, passed = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, -1)
    return torch.cat([turned * cos + torch.cat([-second, first], -1) * sin, passed], dim=-1)


def multiply_heads(
    inputs: Sequence[Float[Tensor, "pair pos d_in"]],
    weight: Float[Tensor, "head d_in d_out"],
    heads: list[int],
    *,
    bias: Float[Tensor, "head d_out"] | None = None,
) -> Float[Tensor, "job pair pos d_out"]:
    """Multiply each input with the weight of its head, and add the bias.

    A CPU does one product after the other, on views: gathering the operands first would copy as
    much as the products read. On a GPU the product of one head keeps only some multiprocessors
    busy, so that all are done at once.
    """
    products = _at_once if weight.is_cuda else _in_turn
    return products(inputs, weight, heads, bias)


def _in_turn(
    inputs: Sequence[Tensor], weight: Tensor, heads: list[int], bias: Tensor | None
) -> Tensor:
    out = inputs[0].new_empty(len(heads), *inputs[0].shape[:-1], weight.shape[-1])
    for row, head, x in zip(out, heads, inputs, strict=True):  # row, x: [pair, pos, ...]
        rows, product = x.flatten(0, 1), row.flatten(0, 1)
        if bias is None:
            torch.mm(rows, weight[head], out=product)
        else:
            torch.addmm(bias[head], rows, weight[head], out=product)
    return out


def _at_once(
    inputs: Sequence[Tensor], weight: Tensor, heads: list[int], bias: Tensor | None
) -> Tensor:
    rows = torch.stack(list(inputs)).flatten(1, 2)  # [job, pair * pos, d_in]
    if bias is None:
        out = torch.bmm(rows, weight[heads])
    else:
        out = torch.baddbmm(bias[heads][:, None], rows, weight[heads])
    return out.view(len(heads), *inputs[0].shape[:-1], -1)


Edit = Callable[[int, str, Tensor], Tensor]
"""(layer, `z` or `mlp_out`, what was computed) -> what is used instead."""


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What one layer computed.

    Attributes:
        resid: residual stream that attention reads.
        ports: query, key and value vectors, before clipping, norms and rotary embedding.
        attention: attention probabilities, as z is mixed with them.
        z_scale: what z has been divided by; see `Attention.scale_of`.
        z: what each head mixed from its values.
        attn_out: sum of all heads' outputs and the output bias.
        mlp_resid: residual stream that the MLP reads.
        mlp_out: output of the MLP.
    """

    resid: Float[Tensor, "pair pos d_model"]
    ports: tuple[Float[Tensor, "pair pos head d_head"], ...]
    attention: Float[Tensor, "head pair query key"]
    z_scale: Float[Tensor, "pair pos"] | None
    z: Float[Tensor, "pair pos head d_head"]
    attn_out: Float[Tensor, "pair pos d_model"]
    mlp_resid: Float[Tensor, "pair pos d_model"]
    mlp_out: Float[Tensor, "pair pos d_model"]

    @property
    def pattern(self) -> Float[Tensor, "pair head query key"]:
        """Attention probabilities."""
        return self.attention.movedim(0, 1)

    @property
    def after(self) -> Float[Tensor, "pair pos d_model"]:
        """Residual stream after this layer."""
        return self.resid + self.attn_out + self.mlp_out


def embed_tokens(
    model: Decoder, tokens: Int[Tensor, "pair pos"]
) -> Float[Tensor, "pair pos d_model"]:
    """Return the output of the token embedding.

    Raises:
        ModelError: if a prompt is longer than the model can read, or has a token that the model
            does not know.
    """
    cfg, n_pos = model.cfg, tokens.shape[1]
    positions = "max_position_embeddings" if model.positions is None else "n_positions"
    for key, limit in {positions: cfg.n_ctx, "sliding_window": cfg.window or n_pos}.items():
        if n_pos > limit:
            raise ModelError(
                f"{cfg.model_name}: a prompt has {n_pos} tokens, but {key} in config.json is "
                f"{limit}; expected prompts of at most {limit} tokens"
            )
    if tokens.numel() and int(tokens.max()) >= cfg.d_vocab:
        raise ModelError(
            f"{cfg.model_name}: a prompt has the token {int(tokens.max())}, but the embedding has "
            f"{cfg.d_vocab} rows, counted from 0; expected prompts made with the tokenizer of this "
            "model"
        )
    return embedding(tokens, model.embed)


def start_of_stream(
    model: Decoder, embed: Float[Tensor, "pair pos d_model"]
) -> Float[Tensor, "pair pos d_model"]:
    """Return the residual stream that the first layer reads.

    Learned position embeddings are added here. They belong to no source: like a bias, they are
    the same in every run.
    """
    if model.positions is None:
        return embed
    return embed + model.positions[: embed.shape[1]]  # [pos, d_model] is added to every pair


def run_layers(
    model: Decoder, embed: Float[Tensor, "pair pos d_model"], *, edit: Edit | None = None
) -> list[LayerTrace]:
    """Run all layers on the output of the embedding; the causal mask hides padding on the right."""
    return run_layers_from(model, 0, start_of_stream(model, embed), edit=edit)


def run_layers_from(
    model: Decoder, first: int, resid: Float[Tensor, "pair pos d_model"], *, edit: Edit | None
) -> list[LayerTrace]:
    """Run the layers from `first` on, on the residual stream that this one reads."""
    layers: list[LayerTrace] = []
    parallel = model.cfg.parallel_attn_mlp
    for layer, block in enumerate(model.blocks[first:], start=first):
        layers.append(_run_layer(block, layer, resid, edit, parallel=parallel))
        resid = layers[-1].after
    return layers


def end_logits(
    model: Decoder,
    resid_end: Float[Tensor, "pair d_model"],
    *,
    tokens: Int[Tensor, " token"] | None = None,
) -> Float[Tensor, "pair vocab"]:
    """Return the logits of final residual streams: last LayerNorm and unembedding.

    Args:
        model: the decoder.
        resid_end: final residual stream, at the end position.
        tokens: those whose logits are needed; None for the whole vocabulary.
    """
    weight = model.unembed if tokens is None else model.unembed[tokens]
    return linear(model.ln_final(resid_end), weight)


def at_end(x: Float[Tensor, "pair pos ..."], end: Int[Tensor, " pair"]) -> Tensor:
    """Return the end position of every prompt [pair, ...]."""
    index = end.view(-1, *[1] * (x.ndim - 1))  # [pair, 1, ...], broadcast over the other axes
    rows: Tensor = x.take_along_dim(index, 1)[:, 0]
    return rows


def _run_layer(
    block: Block,
    layer: int,
    resid: Float[Tensor, "pair pos d_model"],
    edit: Edit | None,
    *,
    parallel: bool,
) -> LayerTrace:
    ports = block.attn.ports(block.ln1(resid))
    # `mix` wants heads in front: [head, pair, pos, d_head].
    mixed, pattern = mix(block.attn, *(port.movedim(2, 0) for port in ports))
    z, scale = block.attn.divided(mixed.movedim(0, 2))  # [pair, pos, head, d_head]
    z = edit(layer, "z", z) if edit else z
    attn_out = block.attn.write(z)
    # With a parallel residual (Pythia) the MLP does not see the attention of its own layer.
    # A view of its own: the gradient there comes from the MLP alone.
    mlp_resid = resid.view_as(resid) if parallel else resid + attn_out
    mlp_out = block.mlp(block.ln2(mlp_resid))
    mlp_out = edit(layer, "mlp_out", mlp_out) if edit else mlp_out
    return LayerTrace(resid, ports, pattern, scale, z, attn_out, mlp_resid, mlp_out)
