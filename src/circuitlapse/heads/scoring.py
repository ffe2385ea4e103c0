"""Scores of all attention heads of a model, as a table."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pandas as pd
from jaxtyping import Int
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.heads.base import HeadScore, Subject
from circuitlapse.heads.registry import SCORES
from circuitlapse.models.activations import RunActivations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import HEAD_SCORES
from circuitlapse.settings.analysis import Bootstrap, Heads
from circuitlapse.types.status import ScoreStatus

_BOOTSTRAP = Bootstrap()

Detector = Callable[..., dict[str, HeadScore]]
"""Takes a `Subject` and options by keyword; returns named scores that are measured together."""


def score_heads(
    model: Model,
    *,
    scores: Sequence[str],
    pairs: PromptPairs | None = None,
    text: Sequence[Int[Tensor, " _"]] | None = None,
    seed: int = 0,
    clean: RunActivations | None = None,
    limits: Limits = AUTOMATIC,
    bootstrap: Bootstrap = _BOOTSTRAP,
    **options: Any,
) -> pd.DataFrame:
    """Measure what every attention head does.

    Args:
        model: a decoder, or a model from `load_model`.
        scores: names of `registry.SCORES`, which gives their ranges, chance levels and what they
            need; the functions that it names as detectors define them.
        pairs: IOI prompts with the positions of io, s1 and s2 in their `roles`.
        text: token ids of documents.
        seed: of all random draws.
        clean: activations of the clean prompts of `pairs`, if they are already computed.
        limits: how many prompts, sequences or documents go through the model at once.
        bootstrap: for the intervals of `cspa`.
        options: keys of the section `heads`, such as `copy_ln="folded"`; each detector gets
            those that it takes.

    Returns:
        The table `HEAD_SCORES`, one row per score (in the order of `scores`), layer and head:
        `value` (NaN where undefined), `low` and `high` (the ends of its bootstrap interval; NaN
        for scores without one), `n` (number of observations) and `status` (`ok`, or why
        the value is undefined).

    Raises:
        UnknownNameError: if a score or an option is unknown, or a detector returns other scores
            than the registry says.
        ValueError: if a score needs prompts or text that are not given, or `clean` is not of
            the same prompts.
    """
    model = as_decoder(model)
    detectors = {name: detector_of(name) for name in scores}
    _refuse_unknown_options(options)
    options |= {"limits": limits, "bootstrap": bootstrap}
    _refuse_other_prompts(pairs, clean)
    subject = Subject(model, seed, pairs, clean, text)
    found: dict[str, HeadScore] = {}
    for detector in dict.fromkeys(detectors.values()):
        taken = {name: options[name] for name in options if name in options_of(detector)}
        measured = detector(subject, **taken)
        expected = [name for name in detectors if detectors[name] is detector]
        _refuse_missing_scores(detector, expected, measured)
        found |= measured
    rows = [row for name in detectors for row in _rows(name, found[name])]
    return HEAD_SCORES.cast(pd.DataFrame(rows, columns=list(HEAD_SCORES.columns)))


def undefined_scores(model: Decoder, *, scores: Sequence[str], status: ScoreStatus) -> pd.DataFrame:
    """Return the same table with NaN for every head, and `status` as the reason.

    Raises:
        UnknownNameError: if a score is unknown.
    """
    for name in scores:
        detector_of(name)
    nothing = HeadScore.undefined(model, status)
    rows = [row for name in scores for row in _rows(name, nothing)]
    return HEAD_SCORES.cast(pd.DataFrame(rows, columns=list(HEAD_SCORES.columns)))


def _rows(name: str, score: HeadScore) -> Iterator[tuple[str | int | float, ...]]:
    for layer, values in enumerate(score.values.tolist()):
        for head, value in enumerate(values):
            status = score.status_of(layer, head) if math.isnan(value) else ScoreStatus.OK
            ends = score.interval_of(layer, head)
            yield name, layer, head, value, *ends, score.n, str(status)


def _refuse_missing_scores(
    detector: Detector, expected: Sequence[str], measured: Mapping[str, HeadScore]
) -> None:
    if set(expected) <= measured.keys():
        return
    raise UnknownNameError(
        f"{detector.__module__}.{detector.__qualname__} returned the scores "
        f"{', '.join(measured) or 'none'}; expected {', '.join(expected)}, the names of its "
        f"entries in circuitlapse.heads.registry"
    )


def _refuse_other_prompts(pairs: PromptPairs | None, clean: RunActivations | None) -> None:
    if pairs is None or clean is None:
        return
    expected, found = tuple(pairs.clean.shape), tuple(clean.embed.shape[:2])
    if expected != found:
        raise ValueError(f"pairs are {expected} prompts and positions, but clean has {found}")


def detector_of(score: str) -> Detector:
    """Return what measures a score.

    Raises:
        UnknownNameError: if there is no such score; the known ones are listed.
    """
    if score not in SCORES:
        raise UnknownNameError(unknown_name("score of heads", score, SCORES))
    module, _, function = SCORES[score].detector.partition(":")
    detector: Detector = getattr(import_module(f"circuitlapse.heads.{module}"), function)
    return detector


def options_of(detector: Detector) -> frozenset[str]:
    """Return the names of the options that a detector takes."""
    parameters = inspect.signature(detector).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def _refuse_unknown_options(options: Mapping[str, Any]) -> None:
    """Check that every option is a key of the section `heads`, also of scores not asked for.

    Raises:
        UnknownNameError: with the first unknown option.
    """
    known = Heads.model_fields.keys() - {"text", "dataset"}
    for name in options:
        if name not in known:
            raise UnknownNameError(unknown_name("option of heads' scores", name, known))
