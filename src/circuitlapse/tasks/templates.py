"""Sentences with gaps, and where the gaps end up once they are filled."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Put words into the gaps of a template such as "The {noun} lasted".

    Returns:
        The text, and the character span of each gap in it; of one that occurs twice, the first.
    """
    text = ""
    spans: dict[str, tuple[int, int]] = {}
    for literal, gap, _, _ in Formatter().parse(template):
        text += literal
        if gap is not None:
            spans.setdefault(gap, (len(text), len(text) + len(words[gap])))
            text += words[gap]
    return text, spans


def gaps(template: str) -> dict[str, str]:
    """Return the gaps of a template with what follows their colon: {"subject": "animate"}."""
    return {gap: kind or "" for _, gap, kind, _ in Formatter().parse(template) if gap is not None}
