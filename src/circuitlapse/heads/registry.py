"""The scores of heads, by name, and what measures them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.heads.attention_to_names import attention_to_names
from circuitlapse.heads.base import HeadScore
from circuitlapse.heads.copying import copying
from circuitlapse.heads.cspa import cspa
from circuitlapse.heads.repeated_tokens import repeated_tokens
from circuitlapse.heads.succession import succession

AnyDetector = Callable[..., dict[str, HeadScore]]
"""A `Detector` that also takes options by keyword."""

_DETECTORS: Mapping[str, AnyDetector] = {
    "induction": repeated_tokens,
    "prev_token": repeated_tokens,
    "duplicate": repeated_tokens,
    "copy": copying,
    "copy_neg": copying,
    "attn_io": attention_to_names,
    "attn_s1": attention_to_names,
    "attn_s2": attention_to_names,
    "cspa": cspa,
    "succession": succession,
}
SCORE_NAMES = tuple(_DETECTORS)
PROMPT_SCORES = ("copy", "copy_neg", "attn_io", "attn_s1", "attn_s2")
"""Those that need IOI prompts."""
TEXT_SCORES = ("cspa",)
"""Those that need running text."""


def detector_of(score: str) -> AnyDetector:
    """Return what measures a score.

    Raises:
        UnknownNameError: if there is no such score; the known ones are listed.
    """
    if score not in _DETECTORS:
        raise UnknownNameError(unknown_name("score of heads", score, _DETECTORS))
    return _DETECTORS[score]


def options_of(detector: AnyDetector) -> frozenset[str]:
    """Return the names of the options that a detector takes."""
    parameters = inspect.signature(detector).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def refuse_unknown_options(options: Mapping[str, Any]) -> None:
    """Check that every option is one of some detector, whether it is asked for or not.

    Raises:
        UnknownNameError: naming the first that is not.
    """
    known = frozenset().union(*map(options_of, _DETECTORS.values())) - {"limits"}
    for name in options:
        if name not in known:
            raise UnknownNameError(unknown_name("option of heads' scores", name, known))
