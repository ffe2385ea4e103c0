"""How well a model does a task, one number per prompt, from the logits at its end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.prompts import PromptPairs
from circuitlapse.types import Metric


def per_prompt_metric(
    logits: Float[Tensor, "pair vocab"],
    pairs: PromptPairs,
    *,
    metric: str,
    clean_logits: Float[Tensor, "pair vocab"] | None = None,
) -> Float[Tensor, " pair"]:
    """Score each prompt against the clean answers; differentiable.

    Args:
        logits: at the end position of each prompt.
        pairs: gives the answers.
        metric: `logit_diff` (logits), `prob_diff` (probability, softmax over the vocabulary) or
            `kl_divergence` (nats), of which less is better.
        clean_logits: of the whole model on the clean prompts, for `kl_divergence`.

    Raises:
        UnknownNameError: if `metric` is unknown.
        ValueError: if `kl_divergence` comes without `clean_logits`.
    """
    if metric == Metric.KL_DIVERGENCE:
        if clean_logits is None:
            raise ValueError("kl_divergence needs the clean model's logits as clean_logits")
        clean, other = clean_logits.log_softmax(1), logits.log_softmax(1)
        return (clean.exp() * (clean - other)).sum(1)
    if metric == Metric.LOGIT_DIFF:
        right, wrong = (_indicator(a, like=logits) for a in (pairs.correct, pairs.wrong))
        weights = right / right.sum(1, keepdim=True) - wrong / wrong.sum(1, keepdim=True)
        return (logits * weights).sum(1)
    if metric == Metric.PROB_DIFF:
        signs = _indicator(pairs.correct, like=logits) - _indicator(pairs.wrong, like=logits)
        return (logits.softmax(1) * signs).sum(1)
    raise UnknownNameError(unknown_name("metric", metric, Metric))


def needs_clean_logits(metric: str) -> bool:
    """Return whether a metric compares with the clean model rather than with the answers."""
    return metric == Metric.KL_DIVERGENCE


def loss_sign(metric: str) -> int:
    """Return +1 where less is better, else -1: times the metric it is a loss."""
    return 1 if metric == Metric.KL_DIVERGENCE else -1


def answer_probability(
    logits: Float[Tensor, "pair vocab"], pairs: PromptPairs
) -> Float[Tensor, " pair"]:
    """Return the probability that falls on any answer, correct or wrong."""
    either = _indicator(pairs.correct, like=logits) + _indicator(pairs.wrong, like=logits)
    return (logits.softmax(1) * either).sum(1)


def rank_zero(logits: Float[Tensor, "pair vocab"], pairs: PromptPairs) -> Float[Tensor, " pair"]:
    """Return 1 where a correct answer is the most likely token of the vocabulary, else 0.

    A tie at the top does not count.
    """
    right = _indicator(pairs.correct, like=logits).bool()
    best_right = logits.masked_fill(~right, -torch.inf).amax(1)
    best_other = logits.masked_fill(right, -torch.inf).amax(1)
    return (best_right > best_other).to(logits.dtype)


def _indicator(answers: Sequence[Sequence[int]], *, like: Tensor) -> Float[Tensor, "pair vocab"]:
    rows = [row for row, ids in enumerate(answers) for _ in ids]
    tokens = [token for ids in answers for token in ids]
    index = torch.tensor([rows, tokens], device=like.device)
    hot = torch.zeros_like(like, requires_grad=False)
    hot[index[0], index[1]] = 1
    return hot
