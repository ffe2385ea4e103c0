"""What heads write to the final residual stream, and what of it is copy suppression."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import layer_norm_scale
from circuitlapse.batching import Limits, in_batches
from circuitlapse.forward import LayerTrace, embed_tokens, run_layers
from circuitlapse.heads.cspa_effect import Changes, Unembedding
from circuitlapse.heads.cspa_text import Sources, find_sources, predicted
from circuitlapse.memory import bytes_per_run


class Setting(NamedTuple):
    """What the changes of a head depend on besides the documents.

    Attributes:
        means: mean z of every head at every position [layer, head, pos, d_head].
        layers: those whose heads are changed.
        function_tokens: never counted as predicted.
        limits: documents that go through at once.
    """

    means: Float[Tensor, "layer head pos d_head"]
    layers: range
    function_tokens: Set[int]
    limits: Limits


@dataclass(frozen=True, eq=False)
class _Text:
    """What all layers share: the sources, their unit directions and the final LayerNorm."""

    sources: Sources
    vectors: Float[Tensor, "doc source d_model"]
    units: Float[Tensor, "doc source d_model"]
    scale: Float[Tensor, "doc pos"]


def mean_z(
    model: TransformerBridge, documents: Int[Tensor, "doc pos"], limits: Limits
) -> Float[Tensor, "layer head pos d_head"]:
    """Return what each head mixes from its values at each position, on average."""

    def total(batch: slice) -> Float[Tensor, "layer pos head d_head"]:
        trace = run_layers(model, embed_tokens(model, documents[batch]))
        return torch.stack([layer.z.sum(0, dtype=torch.float64) for layer in trace])

    size = _documents_per_run(model, documents, limits)
    totals = in_batches(len(documents), size=size, work=total, what="mean outputs of heads")
    mean = torch.stack(totals).sum(0) / len(documents)
    return mean.transpose(1, 2).to(_precise(model))


def find_changes(
    model: TransformerBridge, documents: Int[Tensor, "doc pos"], setting: Setting
) -> Changes:
    """Return how the outputs of heads change when ablated, and when reduced to suppression."""
    unembedding = Unembedding(model, _precise(model))
    sources = find_sources(documents, setting.function_tokens, dtype=_precise(model))

    def run(batch: slice) -> tuple[Tensor, ...]:
        trace = run_layers(model, embed_tokens(model, documents[batch]))
        resid = trace[-1].after.to(_precise(model))
        tokens = sources.tokens[batch]
        text = _Text(
            Sources(tokens, sources.at[batch]),
            unembedding.vectors(tokens),
            unembedding.units(tokens),
            layer_norm_scale(resid, model.ln_final),
        )
        changes = [_change(model, trace[layer], setting, layer, text) for layer in setting.layers]
        ablated, suppressed = (torch.stack(part, 1) for part in zip(*changes, strict=True))
        return resid, ablated, suppressed

    size = _documents_per_run(model, documents, setting.limits)
    parts = in_batches(len(documents), size=size, work=run, what="running the model")
    resid, ablated, suppressed = (torch.cat(part) for part in zip(*parts, strict=True))
    return Changes(resid, ablated, suppressed, sources.tokens)


def bytes_of_changes(model: TransformerBridge, *, n_pos: int) -> int:
    """Return what the changes of all heads take for one document."""
    cfg = model.cfg
    per_position: int = cfg.n_layers * cfg.n_heads * (cfg.d_head + n_pos + 16)
    return n_pos * per_position * _precise(model).itemsize


def _change(
    model: TransformerBridge, trace: LayerTrace, setting: Setting, layer: int, text: _Text
) -> tuple[Float[Tensor, "doc head pos d_head"], Float[Tensor, "doc head pos source"]]:
    """Return the two parts of `Changes` for one layer."""
    mean = setting.means[layer]
    scale = text.scale[:, None, :, None]
    ablated = (mean - trace.z.transpose(1, 2).to(mean.dtype)) / scale
    lens = trace.resid.to(mean.dtype) @ text.vectors.mT
    kept = predicted(lens, text.sources.seen)
    written = _along_sources(model, trace, mean, layer, text).clamp(max=0)
    allowed = kept.to(mean.dtype) @ text.sources.at.mT
    return ablated, (written * allowed[:, None]) @ text.sources.at[:, None] / scale


def _along_sources(
    model: TransformerBridge,
    trace: LayerTrace,
    mean: Float[Tensor, "head pos d_head"],
    layer: int,
    text: _Text,
) -> Float[Tensor, "doc head query key"]:
    """Return A (o_k - mean of r_q) . w_k, with w_k the unit direction of the token at k.

    The outputs are those of values with their bias and without the output bias; a constant in
    them is in the mean too, since attention sums to 1.
    """
    write = model.blocks[layer].attn.W_O.to(mean.dtype)
    value = trace.ports[2].view(trace.z.shape).transpose(1, 2).to(mean.dtype)
    directions = text.sources.at @ text.units
    reads = torch.einsum("hcm,dkm->dhkc", write, directions)
    written = (value * reads).sum(-1)[:, :, None] - mean @ reads.mT
    return trace.pattern.to(mean.dtype) * written


def _precise(model: TransformerBridge) -> torch.dtype:
    """Return the type of numbers that decide: single precision or better."""
    return torch.promote_types(model.cfg.dtype, torch.float32)


def _documents_per_run(
    model: TransformerBridge, documents: Int[Tensor, "doc pos"], limits: Limits
) -> int:
    n_bytes = bytes_per_run(model, n_pos=documents.shape[1])
    return limits.prompts(n_bytes, device=documents.device)
