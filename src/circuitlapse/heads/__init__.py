"""What each attention head does, as numbers: one score, one row per head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.heads.base import HeadScore, ScoreStatus, Subject
from circuitlapse.heads.registry import detector_of, options_of, refuse_unknown_options
from circuitlapse.models.activations import RunActivations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import HEAD_SCORES

__all__ = ["score_heads", "undefined_scores"]


def score_heads(
    model: TransformerBridge,
    *,
    scores: Sequence[str],
    pairs: PromptPairs | None = None,
    text: Sequence[Int[Tensor, " _"]] | None = None,
    seed: int = 0,
    clean: RunActivations | None = None,
    limits: Limits = AUTOMATIC,
    **options: Any,
) -> pd.DataFrame:
    """Measure what every attention head does.

    Args:
        model: from `load_model`.
        scores: names of scores:

            - on repeated random tokens, 0..1: `induction`, `prev_token`, `duplicate`;
            - on `pairs`, 0..100: `copy`, `copy_neg`;
            - on `pairs`, 0..1: `attn_io`, `attn_s1`, `attn_s2`;
            - on `text`, at most 1: `cspa`;
            - on the vocabulary, 0..1: `succession`.

            Their definitions stand in the modules `repeated_tokens`, `copying`,
            `attention_to_names`, `cspa` and `succession` of `circuitlapse.heads`.
        pairs: IOI prompts with the positions of io, s1 and s2 in their `roles`.
        text: token ids of documents.
        seed: of everything drawn at random.
        clean: activations of the clean prompts of `pairs`, when they are at hand.
        limits: how many prompts, sequences or documents go through the model at once.
        options: of the detectors, such as `copy_ln="folded"`; each gets those that it takes.

    Returns:
        The table `HEAD_SCORES`, a row per score, layer and head, in this order, scores as they
        were asked for: `score`, `layer`, `head`, `value` (NaN where it is not defined), `n` (how
        many observations are behind it) and `status` (`ok`, or why the value is not defined).

    Raises:
        UnknownNameError: if a score is unknown, or no detector takes an option.
        ValueError: if a score needs prompts or text that are not given, or `clean` is not of
            the same prompts.
    """
    detectors = {name: detector_of(name) for name in scores}
    refuse_unknown_options(options)
    options["limits"] = limits
    _refuse_other_prompts(pairs, clean)
    subject = Subject(model, seed, pairs, clean, text)
    found: dict[str, HeadScore] = {}
    for detector in dict.fromkeys(detectors.values()):
        taken = {name: options[name] for name in options if name in options_of(detector)}
        found |= detector(subject, **taken)
    rows = [row for name in detectors for row in _rows(name, found[name])]
    return HEAD_SCORES.cast(pd.DataFrame(rows, columns=list(HEAD_SCORES.columns)))


def undefined_scores(
    model: TransformerBridge, *, scores: Sequence[str], status: ScoreStatus
) -> pd.DataFrame:
    """Return the same table with NaN for every head, and why.

    Raises:
        UnknownNameError: if a score is unknown.
    """
    for name in scores:
        detector_of(name)
    nothing = HeadScore.undefined(model, status)
    rows = [row for name in scores for row in _rows(name, nothing)]
    return HEAD_SCORES.cast(pd.DataFrame(rows, columns=list(HEAD_SCORES.columns)))


def _rows(name: str, score: HeadScore) -> Iterator[tuple[str, int, int, float, int, str]]:
    for layer, values in enumerate(score.values.tolist()):
        for head, value in enumerate(values):
            status = score.status_of(layer, head) if math.isnan(value) else ScoreStatus.OK
            yield name, layer, head, value, score.n, str(status)


def _refuse_other_prompts(pairs: PromptPairs | None, clean: RunActivations | None) -> None:
    if pairs is None or clean is None:
        return
    expected, found = tuple(pairs.clean.shape), tuple(clean.embed.shape[:2])
    if expected != found:
        raise ValueError(f"pairs are {expected} prompts and positions, but clean has {found}")
