"""How small changes of the final residual stream change the distribution of the next token.

A head writes d_head dimensions and suppresses only the tokens of a document. The change of the
logits is therefore the product of a few numbers per position with a projected unembedding that
all positions share. It is computed in blocks of the vocabulary and never stored as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear, normalize

from circuitlapse.models.decoder import Decoder

ONE_IN = 20
"""One in this many of the tokens up to a position, rounded up, counts as predicted there."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The distinct tokens of each document that a head may suppress.

    Attributes:
        tokens: ids, padded with 0 where a document has fewer than another.
        at: 1.0 where a position holds the token, else 0; a column of padding is all 0.
    """

    tokens: Int[Tensor, "doc source"]
    at: Float[Tensor, "doc key source"]

    @property
    def seen(self) -> Bool[Tensor, "doc query source"]:
        """Whether the token stands at a position or before it."""
        return self.at.cumsum(1) > 0


def long_enough(
    text: Sequence[Int[Tensor, " _"]], n_documents: int, *, n_positions: int
) -> Int[Tensor, "doc pos"]:
    """Return the first `n_positions` tokens of the first documents that have as many.

    Raises:
        ValueError: if there are fewer than `n_documents` of these.
    """
    enough = [document[:n_positions] for document in text if len(document) >= n_positions]
    if len(enough) < n_documents:
        raise ValueError(
            f"CSPA needs {n_documents} documents of at least {n_positions} tokens, but "
            f"{len(enough)} of {len(text)} are that long; give more text or ask for less"
        )
    return torch.stack(enough[:n_documents])


def find_sources(
    documents: Int[Tensor, "doc pos"], function_tokens: Collection[int], *, dtype: torch.dtype
) -> Sources:
    """Return the distinct tokens of every document, function words left out."""
    rows = [
        [t for t in dict.fromkeys(row) if t not in function_tokens] for row in _lists(documents)
    ]
    width = max(1, *map(len, rows))
    # Padding is -1, which matches no token, until `at` is known; then 0, a valid index.
    padded = torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows])
    tokens = padded.to(documents.device)
    at = (documents[:, :, None] == tokens[:, None]).to(dtype)
    return Sources(tokens.clamp(min=0), at)


def predicted(
    lens: Float[Tensor, "doc query source"], seen: Bool[Tensor, "doc query source"]
) -> Bool[Tensor, "doc query source"]:
    """Return which of the tokens seen so far are predicted at each position.

    These are the tokens with a lens value at least the K-th largest of all tokens seen, where K is
    a twentieth of the number of positions so far, rounded up. If fewer than K distinct tokens were
    seen, all of them count.
    """
    _, n_positions, n_sources = lens.shape
    rank = torch.arange(n_positions, device=lens.device) // ONE_IN  # K - 1 [query]
    values = lens.masked_fill(~seen, -torch.inf)
    ordered = values.sort(-1, descending=True).values  # [doc, query, source]
    rank = rank.clamp(max=n_sources - 1).expand(len(lens), -1)  # [doc, query]
    return (values >= ordered.take_along_dim(rank[..., None], -1)) & seen


def _lists(documents: Int[Tensor, "doc pos"]) -> list[list[int]]:
    rows: list[list[int]] = documents.tolist()
    return rows


BLOCK_MB = {"cpu": 6, "cuda": 500}
"""Memory for the changed logits of a block of the vocabulary; on a CPU it should fit the cache."""


@dataclass(frozen=True, eq=False)
class HeadChanges:
    """Two ways to change what each head writes to the final residual stream.

    Both changes are divided by the scale of the final LayerNorm, which is kept fixed.

    Attributes:
        resid: final residual stream, unchanged.
        ablated: mean of the head's z minus z; times W_O it is the first change.
        suppressed: amount of each source's unit direction; the second change is the first one plus
            these.
        tokens: the sources.
    """

    resid: Float[Tensor, "doc pos d_model"]
    ablated: Float[Tensor, "doc layer head pos d_head"]
    suppressed: Float[Tensor, "doc layer head pos source"]
    tokens: Int[Tensor, "doc source"]

    def double(self) -> HeadChanges:
        """Return the same changes in float64."""
        parts = (getattr(self, f.name) for f in fields(self))
        return HeadChanges(*(p.double() if p.is_floating_point() else p for p in parts))


class Unembedding:
    """The unembedding, centred and multiplied by the weight of the final norm.

    The vector of a token is W_U[:, token] minus its mean over the vocabulary, times the weight of
    the norm, minus the mean of that over d_model where the norm is a LayerNorm. A change d of the
    final residual stream changes the logit by (d / scale) . vector, up to a constant that all
    tokens share.
    """

    def __init__(self, model: Decoder, dtype: torch.dtype) -> None:
        self._norm, self._weight = model.ln_final, model.unembed
        self._gain = self._norm.gain(self._weight).to(dtype)
        wide = torch.promote_types(dtype, torch.float32)
        self._mean = self._weight.mean(0, dtype=wide).to(dtype)
        self.n_rows = len(self._weight)

    def vectors(self, tokens: slice | Int[Tensor, "doc source"]) -> Float[Tensor, "... d_model"]:
        """Return the vectors of some tokens."""
        vectors: Tensor = (self._weight[tokens].to(self._gain.dtype) - self._mean) * self._gain
        return self._norm.centre(vectors)

    def units(self, tokens: Int[Tensor, "doc source"]) -> Float[Tensor, "doc source d_model"]:
        """Return the vectors of some tokens, scaled to length 1."""
        return normalize(self.vectors(tokens), dim=-1)

    def normed(self, resid: Float[Tensor, "doc pos d_model"]) -> Float[Tensor, "doc pos d_model"]:
        """Return the residual stream after the final LayerNorm."""
        return self._norm(resid.to(self._weight.dtype))

    def logits(
        self, normed: Float[Tensor, "doc pos d_model"], part: slice
    ) -> Float[Tensor, "doc pos token"]:
        """Return the model's own logits of a part of the vocabulary."""
        return linear(normed, self._weight[part]).to(self._gain.dtype)

    def parts(self, n_logits: int) -> Iterator[slice]:
        """Yield parts of the vocabulary for which `n_logits` logits per token fit a block."""
        dtype = self._gain.dtype
        budget = BLOCK_MB[self._gain.device.type] * 1e6 / dtype.itemsize
        size = min(self.n_rows, max(16, int(budget / n_logits) // 16 * 16))
        for start in range(0, self.n_rows, size):
            yield slice(start, min(start + size, self.n_rows))


def divergences(
    model: Decoder, changes: HeadChanges, *, layers: range
) -> Float[Tensor, "change doc layer head pos"]:
    """Return KL(original || changed) in nats, for both changes of every head.

    With p the model's distribution and d the change of the logits, KL is log E_p[exp(d)] - E_p[d].
    The first term is computed as log(1 + E_p[exp(d) - 1]), which is exact for small changes too.
    In single precision exp(d) overflows above d = 88; then everything is computed again in double
    precision, which overflows above 709.
    """
    moments = _moments(model, changes, layers)
    if not moments.isfinite().all() and changes.resid.dtype != torch.float64:
        moments = _moments(model, changes.double(), layers)
    return moments[0].log1p() - moments[1]


def _moments(
    model: Decoder, changes: HeadChanges, layers: range
) -> Float[Tensor, "2 change doc layer head pos"]:
    """Return E_p[exp(d) - 1] and E_p[d]."""
    dtype = changes.resid.dtype
    unembedding = Unembedding(model, dtype)
    units = unembedding.units(changes.tokens)
    writes = torch.stack([model.blocks[layer].attn.W_O for layer in layers]).to(dtype)
    # `units` is [doc, source, d_model], `writes` [layer, head, d_head, d_model].
    normed = unembedding.normed(changes.resid)
    normaliser = _log_normaliser(unembedding, normed)
    # Sums over the vocabulary are kept in float64: [change, doc, layer, head, pos] and
    # [doc, pos, d_model].
    growth = changes.ablated.new_zeros(2, *changes.ablated.shape[:-1], dtype=torch.float64)
    mean_vector = changes.resid.new_zeros(changes.resid.shape, dtype=torch.float64)
    for part in unembedding.parts(changes.ablated[:, 0, ..., 0].numel()):
        p = (unembedding.logits(normed, part) - normaliser).exp()  # [doc, pos, token]
        vectors = unembedding.vectors(part)  # [token, d_model]
        mean_vector += p @ vectors
        growth += _growth(changes, p, writes @ vectors.mT, units @ vectors.mT)
    mean = _mean_change(changes, mean_vector.to(dtype), writes, units)
    return torch.stack([growth, mean.double()])


def _log_normaliser(
    unembedding: Unembedding, normed: Float[Tensor, "doc pos d_model"]
) -> Float[Tensor, "doc pos 1"]:
    parts = unembedding.parts(normed[..., 0].numel())
    sums = [unembedding.logits(normed, part).logsumexp(-1) for part in parts]
    return torch.stack(sums, -1).logsumexp(-1, keepdim=True)


def _growth(
    changes: HeadChanges,
    p: Float[Tensor, "doc pos token"],
    writes: Float[Tensor, "layer head d_head token"],
    units: Float[Tensor, "doc source token"],
) -> Float[Tensor, "change doc layer head pos"]:
    """Return the sum of p (exp(d) - 1) over a part of the vocabulary."""
    layers = []
    for layer, write in enumerate(writes):
        ablated = _by_head(changes.ablated[:, layer], write)
        both = _by_document(changes.suppressed[:, layer], units).add_(ablated)
        layers.append(torch.stack([_weighted(ablated, p), _weighted(both, p)]))
    return torch.stack(layers, 2)


def _by_head(
    z: Float[Tensor, "doc head pos d_head"], write: Float[Tensor, "head d_head token"]
) -> Float[Tensor, "doc head pos token"]:
    n_documents, n_heads, n_positions, _ = z.shape
    # One matrix product per head: [head, doc * pos, d_head] @ [head, d_head, token].
    product = z.transpose(0, 1).flatten(1, 2) @ write
    return product.view(n_heads, n_documents, n_positions, -1).transpose(0, 1)


def _by_document(
    suppressed: Float[Tensor, "doc head pos source"], units: Float[Tensor, "doc source token"]
) -> Float[Tensor, "doc head pos token"]:
    return (suppressed.flatten(1, 2) @ units).view(*suppressed.shape[:3], -1)


def _weighted(
    change: Float[Tensor, "doc head pos token"], p: Float[Tensor, "doc pos token"]
) -> Float[Tensor, "doc head pos"]:
    # expm1 is exact near 0. In place: `change` is the largest tensor, and not used again.
    return change.expm1_().mul_(p[:, None]).sum(-1)


def _mean_change(
    changes: HeadChanges,
    vector: Float[Tensor, "doc pos d_model"],
    writes: Float[Tensor, "layer head d_head d_model"],
    units: Float[Tensor, "doc source d_model"],
) -> Float[Tensor, "change doc layer head pos"]:
    """Return the mean change of the logits, from the mean vector of the unembedding."""
    # E_p[d] is linear in the vectors, so their mean under p replaces the sum over the vocabulary.
    reads = torch.einsum("lhcm,dpm->dlhpc", writes, vector)  # [doc, layer, head, pos, d_head]
    ablated = (changes.ablated * reads).sum(-1)
    sources = (vector @ units.mT)[:, None, None]
    return torch.stack([ablated, ablated + (changes.suppressed * sources).sum(-1)])
