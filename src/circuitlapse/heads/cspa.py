"""Copy suppression: does a head attend to tokens that are being predicted, and lower them?

The head is reduced to one operation: attend to an earlier token that is predicted now, and lower
its logit. The score is the share of its direct effect on the output that this explains.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.heads.base import DEFAULTS, HeadScore, Subject
from circuitlapse.heads.cspa_effect import (
    HeadChanges,
    Sources,
    Unembedding,
    divergences,
    find_sources,
    long_enough,
    predicted,
)
from circuitlapse.heads.single_tokens import single_tokens
from circuitlapse.models.batching import AUTOMATIC, Limits, bytes_per_run, in_batches
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import LayerTrace, embed_tokens, run_layers
from circuitlapse.models.load import tokenizer_of
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import resampled_means
from circuitlapse.types.status import ScoreStatus

_BOOTSTRAP = Bootstrap()
MIN_KL = 1e-6
"""With less KL(original || ablated), in nats, a head has no effect and no score."""


class Setting(NamedTuple):
    """The parameters of the changes, besides the documents.

    Attributes:
        means: mean z of every head at every position [layer, head, pos, d_head].
        layers: the layers whose heads are changed.
        function_tokens: tokens that never count as predicted.
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
    model: Decoder, documents: Int[Tensor, "doc pos"], limits: Limits
) -> Float[Tensor, "layer head pos d_head"]:
    """Return the mean z of each head at each position."""

    def total(batch: slice) -> Float[Tensor, "layer pos head d_head"]:
        trace = run_layers(model, embed_tokens(model, documents[batch]))
        # z is [doc, pos, head, d_head]; summed over documents.
        return torch.stack([layer.z.sum(0, dtype=torch.float64) for layer in trace])

    size = _documents_per_run(model, documents, limits)
    totals = in_batches(len(documents), size=size, work=total, what="mean outputs of heads")
    mean = torch.stack(totals).sum(0) / len(documents)
    return mean.transpose(1, 2).to(_precise(model))  # [layer, head, pos, d_head]


def find_changes(
    model: Decoder, documents: Int[Tensor, "doc pos"], setting: Setting
) -> HeadChanges:
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
            model.ln_final.scale(resid),
        )
        changes = [_change(model, trace[layer], setting, layer, text) for layer in setting.layers]
        ablated, suppressed = (torch.stack(part, 1) for part in zip(*changes, strict=True))
        return resid, ablated, suppressed

    size = _documents_per_run(model, documents, setting.limits)
    parts = in_batches(len(documents), size=size, work=run, what="running the model")
    resid, ablated, suppressed = (torch.cat(part) for part in zip(*parts, strict=True))
    return HeadChanges(resid, ablated, suppressed, sources.tokens)


def bytes_of_changes(model: Decoder, *, n_pos: int) -> int:
    """Return what the changes of all heads take for one document."""
    cfg = model.cfg
    per_position: int = cfg.n_layers * cfg.n_heads * (cfg.d_head + n_pos + 16)
    return n_pos * per_position * _precise(model).itemsize


def _change(
    model: Decoder, trace: LayerTrace, setting: Setting, layer: int, text: _Text
) -> tuple[Float[Tensor, "doc head pos d_head"], Float[Tensor, "doc head pos source"]]:
    """Return the two parts of `HeadChanges` for one layer."""
    mean = setting.means[layer]  # [head, pos, d_head]
    scale = text.scale[:, None, :, None]  # [doc, 1, pos, 1]
    ablated = (mean - trace.z.transpose(1, 2).to(mean.dtype)) / scale
    # The logit lens of the stream that this layer reads, for the tokens of the document only.
    lens = trace.resid.to(mean.dtype) @ text.vectors.mT  # [doc, pos, source]
    kept = predicted(lens, text.sources.seen)  # [doc, query, source]
    # Only what lowers the logit of the token at the key counts as suppression.
    written = _along_sources(model, trace, mean, layer, text).clamp(max=0)
    allowed = kept.to(mean.dtype) @ text.sources.at.mT  # [doc, query, key]: is its token predicted?
    # Summed over the keys that hold the same token: [doc, head, query, source].
    return ablated, (written * allowed[:, None]) @ text.sources.at[:, None] / scale


def _along_sources(
    model: Decoder,
    trace: LayerTrace,
    mean: Float[Tensor, "head pos d_head"],
    layer: int,
    text: _Text,
) -> Float[Tensor, "doc head query key"]:
    """Return A (o_k - mean of r_q) . w_k, with w_k the unit direction of the token at k.

    Here o_k is the output for the value at k, bias of the value included, and r_q the output of
    the head at q. The output bias is in neither; a constant would cancel, as attention sums to 1.
    """
    attn = model.blocks[layer].attn
    write, value = attn.W_O.to(mean.dtype), attn.clipped(trace.ports[2])
    value = value.transpose(1, 2).to(mean.dtype)  # [doc, head, key, d_head]
    directions = text.sources.at @ text.units  # w_k [doc, key, d_model]; 0 at a function word
    # Projecting w_k back through W_O avoids the output of every key: d_head numbers, not d_model.
    reads = torch.einsum("hcm,dkm->dhkc", write, directions)  # [doc, head, key, d_head]
    written = (value * reads).sum(-1)[:, :, None]  # [doc, head, 1, key]
    if trace.z_scale is not None:  # z has been divided by it, and so have the means
        written = written / trace.z_scale[:, None, :, None].to(mean.dtype)
    written = written - mean @ reads.mT  # [doc, head, query, key]
    return trace.pattern.to(mean.dtype) * written


def _precise(model: Decoder) -> torch.dtype:
    """Return the model's dtype, but at least float32."""
    return torch.promote_types(model.cfg.dtype, torch.float32)


def _documents_per_run(model: Decoder, documents: Int[Tensor, "doc pos"], limits: Limits) -> int:
    n_bytes = bytes_per_run(model, n_pos=documents.shape[1])
    return limits.prompts(n_bytes, device=documents.device)


@torch.no_grad()
def cspa(
    subject: Subject,
    *,
    n_mean: int = DEFAULTS.n_mean,
    n_documents: int = DEFAULTS.n_documents,
    n_positions: int = DEFAULTS.n_positions,
    function_tokens: Collection[int] | None = None,
    skip_layers: int | None = None,
    limits: Limits = AUTOMATIC,
    bootstrap: Bootstrap = _BOOTSTRAP,
) -> dict[str, HeadScore]:
    """Return the copy-suppression score `cspa` of every head, from -inf to 1.

    It is 1 - KL(original || reduced) / KL(original || ablated), both means over documents and
    positions. Ablated: the head's output is its mean at this position. Reduced: of what each
    value, weighted by attention, differs from that mean, only the part along the unembedding of
    the token that it comes from is put back, and only if it is negative and the token is among
    the 5 % that the logit lens predicts before this layer (see `predicted`). Only the head's
    direct path changes, with the scale of the final LayerNorm kept. 1: all of the head's effect
    is explained; 0: no more than by its mean, as for a head that does something else. The interval
    is a bootstrap over documents, whose positions stay together; the means are kept.

    After McDougall et al. 2023 (Copy suppression), with one similar token per source: the token
    itself. Their folded, centred unembedding is computed from raw weights; the value bias cancels.
    Unlike there, function words are single tokens of this tokenizer, and none is added where fewer
    tokens than the 5 % were seen. The softmax includes the padded rows of the vocabulary.

    Args:
        subject: the first documents of its `text` that are long enough are used.
        n_mean: documents for the mean outputs, one mean per position.
        n_documents: documents for the score, the first ones.
        n_positions: tokens of each document; shorter documents are skipped.
        function_tokens: tokens that never count as predicted; None takes those of
            `FUNCTION_WORDS`, in any spelling of `single_tokens`.
        skip_layers: first layers that are NaN; None for 2, or half of fewer than 4 layers.
        limits: documents that go through at once.
        bootstrap: for the interval.

    Raises:
        ValueError: if there is no text, or not enough of it.
    """
    model = subject.model
    texts = long_enough(
        subject.text or (),
        max(n_mean, n_documents),
        n_positions=n_positions,
    ).to(model.cfg.device)
    if function_tokens is None:
        function_tokens = single_tokens(tokenizer_of(model))
    skip = min(2, model.cfg.n_layers // 2) if skip_layers is None else skip_layers
    if skip >= model.cfg.n_layers:
        return {"cspa": HeadScore.undefined(model, ScoreStatus.SKIPPED)}
    means = mean_z(model, texts[:n_mean], limits)
    setting = Setting(means, range(skip, model.cfg.n_layers), frozenset(function_tokens), limits)
    kl = _kl_of_documents(model, texts[:n_documents], setting)
    return {"cspa": _score(kl, skip=skip, n=n_documents * n_positions, bootstrap=bootstrap)}


def _score(
    kl: Float[Tensor, "change doc layer head"], *, skip: int, n: int, bootstrap: Bootstrap
) -> HeadScore:
    ablated, reduced = kl.mean(1)
    works = ablated >= MIN_KL

    def whole(part: Tensor) -> Float[Tensor, "layer head"]:
        values = part.masked_fill(~works, torch.nan)
        skipped = values.new_full((skip, values.shape[1]), torch.nan)
        return torch.cat([skipped, values]).float().cpu()

    values = whole(1 - reduced / ablated)
    low, high = (whole(ends) for ends in interval_over_documents(kl, bootstrap))
    status = [[ScoreStatus.SKIPPED] * values.shape[1]] * skip
    status += [
        [ScoreStatus.OK if ok else ScoreStatus.NO_EFFECT for ok in row] for row in works.tolist()
    ]
    return HeadScore(values, n, status, low, high)


def interval_over_documents(
    kl: Float[Tensor, "change doc layer head"], bootstrap: Bootstrap
) -> Float[Tensor, "2 layer head"]:
    """Return both ends of the interval of 1 - KL(reduced) / KL(ablated), documents resampled."""
    if kl.shape[1] < 2:
        return kl.new_full((2, *kl.shape[2:]), torch.nan)
    by_document = kl.movedim(1, -1)  # [change, layer, head, doc]
    means = resampled_means(by_document.flatten(0, 2).double().cpu().numpy(), bootstrap)
    drawn = torch.from_numpy(means).view(-1, *by_document.shape[:-1])
    ablated, reduced = drawn.unbind(1)  # [sample, layer, head]
    tail = (1 - bootstrap.level) / 2
    ends = np.quantile((1 - reduced / ablated).numpy(), (tail, 1 - tail), axis=0)
    return torch.from_numpy(ends).to(kl)


def _kl_of_documents(
    model: Decoder, documents: Int[Tensor, "doc pos"], setting: Setting
) -> Float[Tensor, "change doc layer head"]:
    """Return the KL of both changes in every document, the mean over its positions."""

    def mean(batch: slice) -> Float[Tensor, "change doc layer head"]:
        changes = find_changes(model, documents[batch], setting)
        return divergences(model, changes, layers=setting.layers).mean(4)

    kept = bytes_of_changes(model, n_pos=documents.shape[1])
    size = setting.limits.prompts(kept, device=documents.device)
    parts = in_batches(len(documents), size=size, work=mean, what="copy suppression")
    return torch.cat(parts, 1)
