"""Induction, previous-token and duplicate-token heads, on repeated random tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.heads.base import DEFAULTS, HeadScore, Subject
from circuitlapse.heads.single_tokens import plain_tokens
from circuitlapse.models.batching import AUTOMATIC, Limits, bytes_per_run, in_batches
from circuitlapse.models.forward import embed_tokens, run_layers

REPEAT_SCORES = ("induction", "prev_token", "duplicate")


@torch.no_grad()
def repeated_tokens(
    subject: Subject,
    *,
    n_sequences: int = DEFAULTS.n_sequences,
    lengths: Sequence[int] = DEFAULTS.lengths,
    limits: Limits = AUTOMATIC,
) -> dict[str, HeadScore]:
    """Return how much each head attends from repeated random tokens to three related positions.

    Each sequence has S tokens, drawn uniformly from those that are not special, and then the same
    tokens again. With the attention A[query, key], each score is a mean over sequences and queries:

    - `prev_token`: A[q, q-1] for q = 1..2S-1, the token before;
    - `duplicate`: A[q, q-S] for q = S..2S-1, the same token earlier;
    - `induction`: A[q, q-S+1] for q = S..2S-1, the token after the same token earlier.

    The score of a head is the smallest of its means at the given lengths S. At one length, a head
    that looks a fixed number of places back cannot be told from an induction or duplicate-token
    head; at several it is near 0. `prev_token` follows the same rule, so that all three mean the
    same: the head does it at every length.

    Scores are attention probabilities, in 0..1. Uniform attention to all visible tokens, as in an
    untrained model, gives 0.0245 for `prev_token` and 0.0069 for the others at S = 100. In a small
    vocabulary a token can occur more than once within S; then even a perfect head stays below 1.

    Args:
        subject: its model and seed are used.
        n_sequences: number of sequences of each length, the `n` of the scores.
        lengths: every S.
        limits: how many sequences go through at once.

    Raises:
        ValueError: if 2 S is beyond the model's context, S is below 2, or there are no lengths or
            no sequences.

    Source: Olsson et al. 2022 (arXiv 2209.11895) and, for the three means, Tigges et al. 2024
    (arXiv 2407.10827), who have one length, draw two sequences without a seed and also count the
    query S-1 for `induction`, before any token is repeated. `detect_head` of TransformerLens
    divides by the attention of all queries instead of by the number of queries that a score is
    about: if all S tokens differ, its `mul` measure is (2S-1)/2S of `prev_token` and half of the
    others.
    """
    _refuse(n_sequences=n_sequences, lengths=lengths, context=subject.model.cfg.n_ctx)
    means = [_means(subject, n_sequences, length, limits) for length in lengths]
    least = torch.stack(means).amin(0)  # [score, layer, head]
    return {
        name: HeadScore(value, n_sequences)
        for name, value in zip(REPEAT_SCORES, least, strict=True)
    }


def _means(
    subject: Subject, n_sequences: int, length: int, limits: Limits
) -> Float[Tensor, "score layer head"]:
    """Return the means at one length, in float32."""
    model = subject.model
    tokens = draw_repeated(
        plain_tokens(model), n_sequences=n_sequences, length=length, seed=subject.seed
    ).to(model.cfg.device)
    size = limits.prompts(bytes_per_run(model, n_pos=2 * length), device=tokens.device)

    def score(batch: slice) -> Float[Tensor, "score layer head"]:
        layers = run_layers(model, embed_tokens(model, tokens[batch]))
        # Patterns are [sequence, head, query, key]; summed over the sequences of the batch.
        scores = [diagonal_means(layer.pattern, length=length).sum(1) for layer in layers]
        return torch.stack(scores, 1)  # [score, layer, head]

    parts = in_batches(n_sequences, size=size, work=score, what="scoring repeated tokens")
    return (torch.stack(parts).sum(0) / n_sequences).float().cpu()


def draw_repeated(
    allowed: Int[Tensor, " token"], *, n_sequences: int, length: int, seed: int
) -> Int[Tensor, "sequence pos"]:
    """Draw tokens uniformly from `allowed`, and repeat each sequence once."""
    draw = torch.Generator().manual_seed(seed)
    once = allowed[torch.randint(len(allowed), (n_sequences, length), generator=draw)]
    return torch.cat([once, once], 1)  # [sequence, 2 * length]


def diagonal_means(
    pattern: Float[Tensor, "*batch query key"], *, length: int
) -> Float[Tensor, "score ..."]:
    """Return induction, prev_token and duplicate of attention patterns, in float64.

    Args:
        pattern: attention over `length` tokens and their repetition.
        length: number of tokens before the repetition, half the number of positions.
    """
    pattern = pattern.double()
    # The diagonal -n holds A[q, q - n] for q = n, n + 1, ...: all queries that can look back n.
    after_same, before, same = (pattern.diagonal(-n, -2, -1) for n in (length - 1, 1, length))
    # The first entry of the diagonal 1 - S is the query S - 1, whose token is not yet repeated.
    return torch.stack([after_same[..., 1:].mean(-1), before.mean(-1), same.mean(-1)])


def _refuse(*, n_sequences: int, lengths: Sequence[int], context: int) -> None:
    if n_sequences < 1:
        raise ValueError(f"n_sequences must be at least 1, found {n_sequences}")
    if not lengths or min(lengths) < 2 or max(lengths) > context // 2:
        raise ValueError(
            f"lengths must lie in 2..{context // 2}, half of the model's context, found "
            f"{', '.join(map(str, lengths)) or 'none'}"
        )
