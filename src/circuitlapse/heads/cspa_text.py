"""Which earlier tokens of a text are being predicted, for the copy-suppression score."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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
