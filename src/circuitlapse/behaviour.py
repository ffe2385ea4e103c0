"""How well a model does a task, summed up over prompts."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from circuitlapse.metrics import answer_probability, per_prompt_metric, rank_zero
from circuitlapse.prompts import PromptPairs
from circuitlapse.statistics import Bootstrap
from circuitlapse.types import Metric


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
        corrupted_logits: at the end of each corrupted prompt, likewise.
        pairs: the answers to the clean prompts; both runs are scored with them.
        metric: `logit_diff` (in logits) or `prob_diff` (in probability).
        n_tokens: size of the tokenizer; what is beyond only pads the vocabulary and cannot be
            the most likely token.
        bootstrap: for the interval of the mean.

    Returns:
        value (mean metric), se (its standard error), ci_low and ci_high, value_corrupted,
        accuracy (share of prompts with a positive metric), rank0 (share whose most likely
        token is the answer; NaN for `prob_diff`, which has many), answer_prob (mean
        probability on the answers, correct or wrong), n (prompts).
    """
    value = per_prompt_metric(clean_logits.double(), pairs, metric=metric)
    corrupted = per_prompt_metric(corrupted_logits.double(), pairs, metric=metric)
    low, high = bootstrap.mean(value.cpu().numpy())
    one_answer = metric == Metric.LOGIT_DIFF
    return {
        "value": value.mean().item(),
        "se": (value.std(correction=1) / len(pairs) ** 0.5).item(),
        "ci_low": low,
        "ci_high": high,
        "value_corrupted": corrupted.mean().item(),
        "accuracy": (value > 0).double().mean().item(),
        "rank0": rank_zero(clean_logits[:, :n_tokens], pairs).mean().item()
        if one_answer
        else float("nan"),
        "answer_prob": answer_probability(clean_logits.double(), pairs).mean().item(),
        "n": len(pairs),
    }
