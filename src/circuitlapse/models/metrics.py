"""How well a model does a task, one number per prompt, from the logits at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import end_logits
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import group_sums, group_values, mean_interval
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
    rule = _rule(metric)
    if rule.weights is None and clean_logits is None:
        raise ValueError(f"{metric} needs the clean model's logits as clean_logits")
    return rule.score(logits, clean_logits if rule.weights is None else rule.weights(pairs, logits))


def _mean_weights(
    pairs: PromptPairs, like: Float[Tensor, "pair vocab"]
) -> Float[Tensor, "pair vocab"]:
    # With several answers: mean logit of the right ones minus mean logit of the wrong ones.
    right, wrong = (_indicator(a, like=like) for a in (pairs.correct, pairs.wrong))
    return right / right.sum(1, keepdim=True) - wrong / wrong.sum(1, keepdim=True)


def _logit_diff(
    logits: Float[Tensor, "pair vocab"], weights: Float[Tensor, "pair vocab"]
) -> Float[Tensor, " pair"]:
    return (logits * weights).sum(1)


def _signs(pairs: PromptPairs, like: Float[Tensor, "pair vocab"]) -> Float[Tensor, "pair vocab"]:
    # Probabilities add up over answers, so these are summed and not averaged.
    return _indicator(pairs.correct, like=like) - _indicator(pairs.wrong, like=like)


def _prob_diff(
    logits: Float[Tensor, "pair vocab"], signs: Float[Tensor, "pair vocab"]
) -> Float[Tensor, " pair"]:
    return (logits.softmax(1) * signs).sum(1)


def _kl_divergence(
    logits: Float[Tensor, "pair vocab"], clean_logits: Float[Tensor, "pair vocab"]
) -> Float[Tensor, " pair"]:
    clean, other = clean_logits.log_softmax(1), logits.log_softmax(1)  # [pair, vocab]
    # KL(clean || other); log probabilities stay finite where a probability underflows to 0.
    return (clean.exp() * (clean - other)).sum(1)


@dataclass(frozen=True)
class _Rule:
    """How a metric is computed.

    Attributes:
        score: takes logits, and the weights or the clean logits; returns one number per prompt.
        weights: of all tokens, from the answers; None if it compares with the clean model instead.
        answers_only: whether the logits of the answers are all that it depends on.
        less_is_better: whether it is a loss already.
    """

    score: Callable[..., Float[Tensor, " pair"]]
    weights: Callable[..., Float[Tensor, "pair vocab"]] | None = None
    answers_only: bool = False
    less_is_better: bool = False


METRICS: Mapping[Metric, _Rule] = {
    Metric.LOGIT_DIFF: _Rule(_logit_diff, _mean_weights, answers_only=True),
    Metric.PROB_DIFF: _Rule(_prob_diff, _signs),
    Metric.KL_DIVERGENCE: _Rule(_kl_divergence, less_is_better=True),
}


def _rule(metric: str) -> _Rule:
    if metric not in METRICS:
        raise UnknownNameError(unknown_name("metric", metric, METRICS))
    return METRICS[Metric(metric)]


def needs_clean_logits(metric: str) -> bool:
    """Return whether a metric compares with the clean model rather than with the answers."""
    return _rule(metric).weights is None


def loss_sign(metric: str) -> int:
    """Return +1 where less is better, else -1: times the metric it is a loss."""
    return 1 if _rule(metric).less_is_better else -1


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
    best_right = logits.masked_fill(~right, -torch.inf).amax(1)  # [pair]
    best_other = logits.masked_fill(right, -torch.inf).amax(1)  # [pair]
    return (best_right > best_other).to(logits.dtype)


def _indicator(answers: Sequence[Sequence[int]], *, like: Tensor) -> Float[Tensor, "pair vocab"]:
    rows = [row for row, ids in enumerate(answers) for _ in ids]
    tokens = [token for ids in answers for token in ids]
    index = torch.tensor([rows, tokens], device=like.device)  # [2, answer]
    hot = torch.zeros_like(like, requires_grad=False)
    hot[index[0], index[1]] = 1
    return hot


class ResidualMetric:
    """The task metric as a function of the final residual stream.

    Only the logits that the metric depends on are computed.

    Args:
        model: the decoder.
        pairs: the answers.
        metric: see `per_prompt_metric`.
        clean_logits: of the whole model on the clean prompts, for `kl_divergence` [pair, vocab].
    """

    def __init__(
        self,
        model: Decoder,
        pairs: PromptPairs,
        *,
        metric: str,
        clean_logits: Float[Tensor, "pair vocab"] | None = None,
    ) -> None:
        self._model, self._rule = model, _rule(metric)
        # What logits are compared with. Weights are made at the first call: they take longer than
        # a small circuit.
        self._against = None if clean_logits is None else at_least_float32(clean_logits)
        self._tokens, self._pairs = None, pairs
        # Probabilities need the logits of the whole vocabulary, a difference of logits does not.
        if self._rule.answers_only:
            self._tokens, self._pairs = _answers_only(pairs)

    def __call__(self, resid_end: Float[Tensor, "pair d_model"]) -> Float[Tensor, " pair"]:
        """Return the metric of each prompt; differentiable, in float32 or better."""
        # [pair, token]: all tokens that are answers of any prompt, or the whole vocabulary
        logits = at_least_float32(end_logits(self._model, resid_end, tokens=self._tokens))
        if self._against is None and self._rule.weights is not None:
            self._against = self._rule.weights(self._pairs, logits)
        return self._rule.score(logits, self._against)


def at_least_float32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return `x` in float64 if it was, else in float32."""
    return x if x.dtype == torch.float64 else x.float()


def _answers_only(pairs: PromptPairs) -> tuple[Int[Tensor, " token"], PromptPairs]:
    """Return the tokens that are an answer of any prompt, and the pairs in terms of these."""
    # Answers are rewritten as places among these tokens, which are then the whole vocabulary.
    tokens = sorted({token for row in (*pairs.correct, *pairs.wrong) for token in row})
    place = {token: index for index, token in enumerate(tokens)}
    correct, wrong = (
        [[place[token] for token in row] for row in side] for side in (pairs.correct, pairs.wrong)
    )
    device = pairs.clean.device
    return torch.tensor(tokens, device=device), replace(pairs, correct=correct, wrong=wrong)


def metric_by_group(
    clean_logits: Float[Tensor, "pair vocab"], pairs: PromptPairs, *, metric: str
) -> dict[str, ndarray]:
    """Return the mean metric of every group of prompts.

    Args:
        clean_logits: at the end of each clean prompt.
        pairs: the answers to the clean prompts.
        metric: `logit_diff` (in logits) or `prob_diff` (in probability).

    Returns:
        group (its number), n_prompts (how many are in it) and value (their mean), [group] each.
    """
    values = per_prompt_metric(clean_logits.double(), pairs, metric=metric).cpu().numpy()
    sums, sizes = group_sums(values, pairs.groups)
    return {"group": np.arange(len(sizes)), "n_prompts": sizes, "value": sums / sizes}


def behaviour(
    clean_logits: Float[Tensor, "pair vocab"],
    corrupted_logits: Float[Tensor, "pair vocab"],
    pairs: PromptPairs,
    *,
    metric: str,
    n_tokens: int,
    bootstrap: Bootstrap,
) -> dict[str, float]:
    """Return the columns of the behaviour table that are measured.

    Args:
        clean_logits: at the end of each clean prompt, over the whole padded vocabulary, as the
            circuits see it.
        corrupted_logits: the same at the end of each corrupted prompt.
        pairs: the answers to the clean prompts; both runs are scored with them.
        metric: `logit_diff` (in logits) or `prob_diff` (in probability).
        n_tokens: size of the tokenizer; what is beyond only pads the vocabulary and cannot be
            the most likely token.
        bootstrap: for the interval of the mean.

    Returns:
        value (mean metric), se (its standard error), ci_low and ci_high, value_corrupted,
        accuracy (share of prompts with a positive metric), rank0 (share whose most likely
        token is the answer; NaN for `prob_diff`, which has many), answer_prob (mean
        probability on the answers, correct or wrong), n (groups of prompts, which are independent).
    """
    value = per_prompt_metric(clean_logits.double(), pairs, metric=metric)  # [pair]
    corrupted = per_prompt_metric(corrupted_logits.double(), pairs, metric=metric)
    groups, measured = pairs.groups, value.cpu().numpy()
    low, high = mean_interval(measured, bootstrap, groups)
    # One value per group, whose plain standard error is that of the mean over prompts.
    independent = torch.from_numpy(group_values(measured, groups))
    one_answer = metric == Metric.LOGIT_DIFF
    return {
        "value": value.mean().item(),
        "se": (independent.std(correction=1) / len(independent) ** 0.5).item(),
        "ci_low": low,
        "ci_high": high,
        "value_corrupted": corrupted.mean().item(),
        "accuracy": (value > 0).double().mean().item(),
        "rank0": rank_zero(clean_logits[:, :n_tokens], pairs).mean().item()
        if one_answer
        else float("nan"),
        "answer_prob": answer_probability(clean_logits.double(), pairs).mean().item(),
        "n": pairs.n_groups,
    }
