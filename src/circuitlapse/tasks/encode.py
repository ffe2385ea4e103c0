"""From text to token ids."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Draft, Pair, Task, to_frame
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric


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


MIN_PAIRS = 2
"""A mean with a spread needs two."""


def encode(
    draft: Draft,
    vocabulary: Vocabulary,
    *,
    name: str,
    metric: Metric,
    builder: str,
    n_prompts: int | None,
    seed: int,
    prepend_bos: bool,
    options: Mapping[str, str],
) -> Task:
    """Turn pairs that keep the rules into a task; see `Task` for the arguments.

    Raises:
        TaskError: if there are fewer than two pairs, or if the tokenizer has no begin-of-text
            token to prepend.
    """
    if len(draft.pairs) < MIN_PAIRS:
        found = f"there are {len(draft.pairs)} prompt pairs"
        raise TaskError(f"{found}; at least {MIN_PAIRS} are needed")
    start = [vocabulary.bos_id] if prepend_bos else []
    rows = [_row(pair, vocabulary, start=start) for pair in draft.pairs]
    return Task(
        name=name,
        metric=metric,
        builder=builder,
        prepend_bos=prepend_bos,
        seed=seed,
        options=options,
        tokenizer_hash=vocabulary.hash,
        dropped=_dropped(draft, n_prompts),
        frame=to_frame([{"prompt_id": index, **row} for index, row in enumerate(rows)]),
    )


def _dropped(draft: Draft, n_prompts: int | None) -> dict[str, int]:
    short = 0 if n_prompts is None else n_prompts - len(draft.pairs)
    counts = {**draft.dropped, "prompts that were asked for but do not exist": short}
    return {reason: count for reason, count in counts.items() if count}


def _row(pair: Pair, vocabulary: Vocabulary, *, start: list[int]) -> dict[str, Any]:
    clean = [*start, *vocabulary.ids(pair.clean)]
    positions = {
        f"pos_{role}": len(start) + vocabulary.position(pair.clean, span)
        for role, span in pair.spans.items()
    }
    return {
        "template": pair.template,
        "clean": pair.clean,
        "corrupted": pair.corrupted,
        "clean_tokens": clean,
        "corrupted_tokens": [*start, *vocabulary.ids(pair.corrupted)],
        "end": len(clean) - 1,
        "correct": vocabulary.single_ids(pair.correct),
        "wrong": vocabulary.single_ids(pair.wrong),
        **positions,
    }
