"""From the final residual stream at the end position to a task's metric."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.forward import end_logits
from circuitlapse.metrics import per_prompt_metric
from circuitlapse.prompts import PromptPairs
from circuitlapse.types import Metric


class Readout:
    """The metric of some prompts; only the logits that it depends on are computed.

    Args:
        model: from `load_model`.
        pairs: the answers.
        metric: see `per_prompt_metric`.
        clean_logits: of the whole model on the clean prompts, for `kl_divergence` [pair, vocab].
    """

    def __init__(
        self,
        model: TransformerBridge,
        pairs: PromptPairs,
        *,
        metric: str,
        clean_logits: Float[Tensor, "pair vocab"] | None = None,
    ) -> None:
        self._model, self._metric = model, metric
        self._clean = None if clean_logits is None else at_least_float32(clean_logits)
        self._tokens, self._pairs = None, pairs
        if metric == Metric.LOGIT_DIFF:
            self._tokens, self._pairs = _answers_only(pairs)

    def __call__(self, resid_end: Float[Tensor, "pair d_model"]) -> Float[Tensor, " pair"]:
        """Return the metric of each prompt; differentiable, in float32 or better."""
        logits = at_least_float32(end_logits(self._model, resid_end, tokens=self._tokens))
        return per_prompt_metric(logits, self._pairs, metric=self._metric, clean_logits=self._clean)


def at_least_float32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return `x` in float64 if it was, else in float32."""
    return x if x.dtype == torch.float64 else x.float()


def _answers_only(pairs: PromptPairs) -> tuple[Int[Tensor, " token"], PromptPairs]:
    """Return the tokens that are an answer of any prompt, and the pairs in terms of these."""
    tokens = sorted({token for row in (*pairs.correct, *pairs.wrong) for token in row})
    place = {token: index for index, token in enumerate(tokens)}
    correct, wrong = (
        [[place[token] for token in row] for row in side] for side in (pairs.correct, pairs.wrong)
    )
    device = pairs.clean.device
    return torch.tensor(tokens, device=device), replace(pairs, correct=correct, wrong=wrong)
