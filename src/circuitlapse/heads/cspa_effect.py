"""What small changes of the final residual stream do to the distribution of the next token.

A head writes d_head dimensions, and what it suppresses are the few tokens of a document. So the
logits that it changes are the product of few numbers per position with a projected unembedding,
which is the same for all positions; they are computed and used up in blocks of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear, normalize
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.models.decoder import layer_norm

ONE_IN = 20
"""One in so many of the tokens up to a position, rounded up, counts as predicted there."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The distinct tokens of each document that a head may suppress.

    Attributes:
        tokens: ids, padded with 0 where a document has fewer than another.
        at: 1.0 where a position holds the token. Padding and function words are nowhere.
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
    """Return the first so many positions of the first documents that have them.

    Raises:
        ValueError: if there are fewer such documents than asked for.
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
    """Return the distinct tokens of every document that are no function words."""
    rows = [
        [t for t in dict.fromkeys(row) if t not in function_tokens] for row in _lists(documents)
    ]
    width = max(1, *map(len, rows))
    # Padding is no token at all until it is known where each token stands.
    padded = torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows])
    tokens = padded.to(documents.device)
    at = (documents[:, :, None] == tokens[:, None]).to(dtype)
    return Sources(tokens.clamp(min=0), at)


def predicted(
    lens: Float[Tensor, "doc query source"], seen: Bool[Tensor, "doc query source"]
) -> Bool[Tensor, "doc query source"]:
    """Return which of the tokens seen so far are predicted at each position.

    They are those whose lens value is at least the K-th largest of any token seen, where K is a
    twentieth of the number of positions so far, rounded up. Where fewer than K tokens were
    seen, it is all of these.
    """
    _, n_positions, n_sources = lens.shape
    rank = torch.arange(n_positions, device=lens.device) // ONE_IN
    values = lens.masked_fill(~seen, -torch.inf)
    ordered = values.sort(-1, descending=True).values
    rank = rank.clamp(max=n_sources - 1).expand(len(lens), -1)
    return (values >= ordered.take_along_dim(rank[..., None], -1)) & seen


def _lists(documents: Int[Tensor, "doc pos"]) -> list[list[int]]:
    rows: list[list[int]] = documents.tolist()
    return rows


BLOCK_MB = {"cpu": 6, "cuda": 500}
"""For the changed logits of a block of the vocabulary; on a CPU they should fit its cache."""


@dataclass(frozen=True, eq=False)
class Changes:
    """Two ways to change what each head writes to the final residual stream.

    All of it is divided by the scale of the final LayerNorm, which stays what it is.

    Attributes:
        resid: final residual stream.
        ablated: mean of the head's z less z itself; times W_O it is the first change.
        suppressed: how much of each source's unit direction comes on top in the second.
        tokens: the sources.
    """

    resid: Float[Tensor, "doc pos d_model"]
    ablated: Float[Tensor, "doc layer head pos d_head"]
    suppressed: Float[Tensor, "doc layer head pos source"]
    tokens: Int[Tensor, "doc source"]

    def double(self) -> Changes:
        """Return the same changes in float64."""
        parts = (getattr(self, f.name) for f in fields(self))
        return Changes(*(p.double() if p.is_floating_point() else p for p in parts))


class Unembedding:
    """The unembedding with the weight of the final LayerNorm multiplied in, and centred.

    The vector of a token is W_U[:, token], less its mean over the vocabulary, times the weight of
    the LayerNorm, less its mean over d_model. With it, a change d of the final residual stream
    changes the logit by (d / scale) . vector, up to a constant that all tokens share.
    """

    def __init__(self, model: TransformerBridge, dtype: torch.dtype) -> None:
        part = model.unembed.original_component
        self._norm, self._weight, self._bias = model.ln_final, part.weight, part.bias
        self._gain = self._norm.original_component.weight.to(dtype)
        self._mean = part.weight.mean(0, dtype=torch.promote_types(dtype, torch.float32)).to(dtype)
        self.n_rows = len(part.weight)

    def vectors(self, tokens: slice | Int[Tensor, "doc source"]) -> Float[Tensor, "... d_model"]:
        """Return the vectors of some tokens."""
        vectors: Tensor = (self._weight[tokens].to(self._gain.dtype) - self._mean) * self._gain
        return vectors - vectors.mean(-1, keepdim=True)

    def units(self, tokens: Int[Tensor, "doc source"]) -> Float[Tensor, "doc source d_model"]:
        """Return the vectors of some tokens, of length 1."""
        return normalize(self.vectors(tokens), dim=-1)

    def normed(self, resid: Float[Tensor, "doc pos d_model"]) -> Float[Tensor, "doc pos d_model"]:
        """Return what the model unembeds."""
        return layer_norm(resid.to(self._weight.dtype), self._norm)

    def logits(
        self, normed: Float[Tensor, "doc pos d_model"], part: slice
    ) -> Float[Tensor, "doc pos token"]:
        """Return the model's own logits of a part of the vocabulary."""
        bias = None if self._bias is None else self._bias[part]
        return linear(normed, self._weight[part], bias).to(self._gain.dtype)

    def parts(self, n_logits: int) -> Iterator[slice]:
        """Yield parts of the vocabulary for which `n_logits` logits per token fit a block."""
        dtype = self._gain.dtype
        budget = BLOCK_MB[self._gain.device.type] * 1e6 / dtype.itemsize
        size = min(self.n_rows, max(16, int(budget / n_logits) // 16 * 16))
        for start in range(0, self.n_rows, size):
            yield slice(start, min(start + size, self.n_rows))


def divergences(
    model: TransformerBridge, changes: Changes, *, layers: range
) -> Float[Tensor, "change doc layer head pos"]:
    """Return KL(original || changed) in nats, for both changes of every head.

    The original p is the model's output. With d the changes of its logits it is
    log E_p[exp(d)] - E_p[d], and the first term is log(1 + E_p[exp(d) - 1]), which is exact for
    small changes too. In single precision the exponential of a change above 88 overflows; then
    all of it is done again in double precision, which reaches 709.
    """
    moments = _moments(model, changes, layers)
    if not moments.isfinite().all() and changes.resid.dtype != torch.float64:
        moments = _moments(model, changes.double(), layers)
    return moments[0].log1p() - moments[1]


def _moments(
    model: TransformerBridge, changes: Changes, layers: range
) -> Float[Tensor, "2 change doc layer head pos"]:
    """Return E_p[exp(d) - 1] and E_p[d]."""
    dtype = changes.resid.dtype
    unembedding = Unembedding(model, dtype)
    units = unembedding.units(changes.tokens)
    writes = torch.stack([model.blocks[layer].attn.W_O for layer in layers]).to(dtype)
    normed = unembedding.normed(changes.resid)
    normaliser = _log_normaliser(unembedding, normed)
    growth = changes.ablated.new_zeros(2, *changes.ablated.shape[:-1], dtype=torch.float64)
    mean_vector = changes.resid.new_zeros(changes.resid.shape, dtype=torch.float64)
    for part in unembedding.parts(changes.ablated[:, 0, ..., 0].numel()):
        p = (unembedding.logits(normed, part) - normaliser).exp()
        vectors = unembedding.vectors(part)
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
    changes: Changes,
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
    product = z.transpose(0, 1).flatten(1, 2) @ write
    return product.view(n_heads, n_documents, n_positions, -1).transpose(0, 1)


def _by_document(
    suppressed: Float[Tensor, "doc head pos source"], units: Float[Tensor, "doc source token"]
) -> Float[Tensor, "doc head pos token"]:
    return (suppressed.flatten(1, 2) @ units).view(*suppressed.shape[:3], -1)


def _weighted(
    change: Float[Tensor, "doc head pos token"], p: Float[Tensor, "doc pos token"]
) -> Float[Tensor, "doc head pos"]:
    return change.expm1_().mul_(p[:, None]).sum(-1)


def _mean_change(
    changes: Changes,
    vector: Float[Tensor, "doc pos d_model"],
    writes: Float[Tensor, "layer head d_head d_model"],
    units: Float[Tensor, "doc source d_model"],
) -> Float[Tensor, "change doc layer head pos"]:
    """Return the mean change of the logits, from the mean vector of the unembedding."""
    reads = torch.einsum("lhcm,dpm->dlhpc", writes, vector)
    ablated = (changes.ablated * reads).sum(-1)
    sources = (vector @ units.mT)[:, None, None]
    return torch.stack([ablated, ablated + (changes.suppressed * sources).sum(-1)])
