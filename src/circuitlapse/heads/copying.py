"""Copying: does a head raise, or lower, the logit of the name that it reads?"""

from __future__ import annotations

from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.errors import ModelError, UnknownNameError, unknown_name
from circuitlapse.heads.base import (
    DEFAULTS,
    HeadScore,
    Subject,
    at_positions,
    positions_of_names,
    with_names,
)
from circuitlapse.models.activations import RunActivations
from circuitlapse.models.batching import AUTOMATIC, Limits, bytes_per_run, in_batches
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.forward import embed_tokens, run_layers, start_of_stream
from circuitlapse.models.prompts import PromptPairs

COPY_SCORES = ("copy", "copy_neg")
TOP = 5
CHUNK = 1024
"""Number of tokens whose logits are computed at once."""


class CopyLn(StrEnum):
    """How LayerNorm enters the copy scores."""

    FULL = "full"
    """The head reads what its LayerNorm makes of the stream, and adds its value bias."""
    FOLDED = "folded"
    """As with folded and centred weights: no division, no bias but that of the last LayerNorm."""


@torch.no_grad()
def copying(
    subject: Subject,
    *,
    copy_ln: str = DEFAULTS.copy_ln,
    limits: Limits = AUTOMATIC,
) -> dict[str, HeadScore]:
    """Return `copy` and `copy_neg`: how often a head's output ranks the name it reads on top.

    The residual stream after the first layer, at io, s1 and s2 of each clean prompt, is passed
    through the value and output weights of each head and unembedded. `copy` is the percentage
    of names whose token is then among the 5 highest logits, `copy_neg` the same with the
    output multiplied by -1. Both are in 0..100; chance is 500 / number of tokens, about 0.01.
    `n` is the number of names, three per prompt. A tied token counts as higher, so a head without
    output has 0. Heads of the first layer do not read this stream; their values are formal only.

    With x the residual stream, g and b the gain and bias of a LayerNorm (1 of the layer's
    attention, f of the last one) and c() the subtraction of the mean over the dimensions,

    - `full`: [c((LN1(x) W_V + b_V) W_O) * gf] W_U;
    - `folded`: [c((c(x) * g1) W_V W_O) * gf] W_U + bf W_U.

    Args:
        subject: without its `clean`, the clean prompts are run.
        copy_ln: `full` or `folded`.
        limits: how many prompts are run, and names unembedded, at once.

    Raises:
        UnknownNameError: if `copy_ln` is unknown.
        ModelError: if the model's tokenizer lacks a name's token.
        ValueError: if there are no pairs, or they lack the roles io, s1 and s2.

    Source: Wang et al. 2022 (arXiv 2211.00593), section 3.1. The reference implementation is
    `folded`: as bf W_U does not grow with the output, its ranking depends on the size of x.
    """
    if copy_ln not in set(CopyLn):
        raise UnknownNameError(unknown_name("copy_ln", copy_ln, CopyLn))
    model, pairs = subject.model, with_names(subject.pairs)
    positions = positions_of_names(pairs)
    if subject.clean is not None:
        resid = _from_activations(model, subject.clean, positions)
    else:
        resid = _from_run(model, pairs, positions, limits=limits)
    names = at_positions(pairs.clean, positions).flatten()  # [pair * role], like `resid` below
    _refuse_unknown_tokens(model, names)
    hits = _hits(model, _wide(resid.flatten(0, 1)), names, copy_ln=copy_ln, limits=limits)
    shares = (100 * hits.double() / len(names)).float().cpu()
    return {
        name: HeadScore(share, len(names)) for name, share in zip(COPY_SCORES, shares, strict=True)
    }


def _refuse_unknown_tokens(model: Decoder, names: Int[Tensor, " name"]) -> None:
    if (highest := int(names.max())) >= model.n_tokens:
        raise ModelError(
            f"{model.cfg.model_name}: token {highest} of the prompts is beyond the tokenizer, "
            f"which has {model.n_tokens}; expected the tokenizer's files in the model's folder"
        )


def _from_activations(
    model: Decoder, clean: RunActivations, positions: Int[Tensor, "pair role"]
) -> Float[Tensor, "pair role d_model"]:
    """Return the residual stream after the first layer: the sum of everything written to it."""
    start = start_of_stream(model, clean.embed.to(model.cfg.device))
    parts = (start, clean.z[:, :, 0], clean.mlp_out[:, :, 0])
    first, z, mlp_out = (at_positions(part, positions).to(model.cfg.device) for part in parts)
    resid: Tensor = first + model.blocks[0].attn.write(z) + mlp_out
    return resid


def _from_run(
    model: Decoder,
    pairs: PromptPairs,
    positions: Int[Tensor, "pair role"],
    *,
    limits: Limits,
) -> Float[Tensor, "pair role d_model"]:
    tokens = pairs.clean
    needed = bytes_per_run(model, n_pos=tokens.shape[1])

    def run(batch: slice) -> Float[Tensor, "pair role d_model"]:
        first = run_layers(model, embed_tokens(model, tokens[batch]))[0]
        return at_positions(first.after, positions[batch])

    size = limits.prompts(needed, device=tokens.device)
    return torch.cat(in_batches(len(pairs), size=size, work=run, what="running the model"))


def _hits(
    model: Decoder,
    resid: Float[Tensor, "name d_model"],
    names: Int[Tensor, " name"],
    *,
    copy_ln: str,
    limits: Limits,
) -> Int[Tensor, "score layer head"]:
    """Count the names on top, for the outputs and for their negatives."""
    unembed = _wide(model.unembed[: model.n_tokens])
    final = model.ln_final.to(unembed.dtype)
    offset = unembed @ final.offset(unembed) * (copy_ln == CopyLn.FOLDED)  # [vocab]; else 0
    per_head = unembed.element_size() * (2 * model.cfg.d_model + 4 * CHUNK)
    size = limits.prompts(model.cfg.n_heads * per_head, device=resid.device)

    def count(batch: slice) -> Int[Tensor, "score layer head"]:
        layers = []
        for block in model.blocks:
            value = _values(block, resid[batch], copy_ln=copy_ln)  # [head, name, d_head]
            # Ranks do not depend on the scale of the last LayerNorm, so it is left out.
            written = value @ _wide(block.attn.W_O)
            output = final.centre(written) * final.gain(written)
            layers.append(count_on_top(output, names[batch], unembed, offset=offset))
        return torch.stack(layers, 1)

    parts = in_batches(len(names), size=size, work=count, what="scoring copying")
    return torch.stack(parts).sum(0)


def count_on_top(
    output: Float[Tensor, "head name d_model"],
    names: Int[Tensor, " name"],
    unembed: Float[Tensor, "vocab d_model"],
    *,
    offset: Float[Tensor, " vocab"],
) -> Int[Tensor, "score head"]:
    """Count the names among the 5 highest logits of each output, and of its negative.

    The vocabulary is processed in chunks. A row is decided, and left out of later chunks, once
    five tokens are above its name in both directions; most rows are decided in the first chunk.

    Args:
        output: what each head writes at the position of each name.
        names: the token at each position.
        unembed: a row per token.
        offset: added to the logits of the output and of its negative.
    """
    rows, tokens = output.flatten(0, 1), names.repeat(len(output))  # row: head * name
    own = (rows * unembed[tokens]).sum(-1)  # [row], the logit of the name itself
    n_above = torch.zeros(2, len(rows), dtype=torch.long, device=rows.device)  # [sign, row]
    vocabulary = torch.arange(len(unembed), device=rows.device)
    undecided = torch.arange(len(rows), device=rows.device)
    for start in range(0, len(unembed), CHUNK):
        ids = vocabulary[start : start + CHUNK]
        logits, token = rows[undecided] @ unembed[ids].mT, tokens[undecided]  # [row, token]
        other = ids != token[:, None]  # a name is not above itself
        for sign, count in zip((1, -1), n_above, strict=True):
            to_beat = sign * own[undecided] + offset[token]
            above = sign * logits + offset[ids] >= to_beat[:, None]
            count[undecided] += (above & other).sum(-1)
        undecided = undecided[(n_above[:, undecided] < TOP).any(0)]
    return (n_above < TOP).view(2, len(output), -1).sum(-1)  # [sign, head, name] -> [sign, head]


def _values(
    block: Block, resid: Float[Tensor, "name d_model"], *, copy_ln: str
) -> Float[Tensor, "head name d_head"]:
    norm, attn = block.ln1.to(resid.dtype), block.attn
    if copy_ln == CopyLn.FOLDED:
        return norm.centre(resid) * norm.gain(resid) @ _wide(attn.W_V)
    return attn.clipped(norm(resid) @ _wide(attn.W_V) + _wide(attn.b_V)[:, None])


def _wide(x: Tensor) -> Tensor:
    """Return `x` in float32, or as it is in float64."""
    return x if x.dtype == torch.float64 else x.float()
