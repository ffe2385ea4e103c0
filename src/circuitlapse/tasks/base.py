"""What a built-in task is: its description, and pairs of prompts as text.

This module loads neither pandas nor tokenizers, because the configuration, the plan and the
figures read the descriptions too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from string import Formatter

from circuitlapse.types import HeadSet, Metric


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupted prompt as text.

    Attributes:
        clean: the prompt up to, not including, the answer.
        corrupted: the clean prompt with the words that decide the answer replaced.
        correct: correct answers to the clean prompt, with any leading space: " she", "32".
        wrong: wrong answers, in the same form.
        template: name of the sentence pattern.
        spans: role of a word -> its (start, stop) characters in `clean`.
        n_changed: positions in which clean and corrupted differ; None means any number.
        group: name of a group of pairs that are not independent; "" for none. If no pair of a task
            has one, twins are found by their texts; see `tasks.encode.twins`.
    """

    clean: str
    corrupted: str
    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    template: str = ""
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    n_changed: int | None = 1
    group: str = ""


@dataclass(frozen=True)
class Draft:
    """What a builder returns.

    Attributes:
        pairs: the prompts.
        dropped: reason -> number of words, templates or prompts left out.
    """

    pairs: tuple[Pair, ...]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Builder:
    """A built-in task: the function that makes its prompts, and what other modules read of it.

    Attributes:
        make: `make(vocabulary, *, n_prompts, rng, **options)` returns at most `n_prompts` pairs
            and raises TaskError if the vocabulary has too few of the words.
        title: name in figures, with the abbreviation in brackets.
        metric: score of a prompt.
        prompt_tokens: typical length of a prompt with its padding, in tokens of Pythia.
        finite: whether a configuration may ask for all prompts there are, by `n_prompts: null`.
        options: setting -> its allowed values, the default first; `settings.Task` has a key of
            the same name.
        head_sets: sets of heads, besides those of the circuit, that steps exchange.
    """

    make: Callable[..., Draft]
    title: str
    metric: Metric
    prompt_tokens: int
    finite: bool = False
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    head_sets: tuple[HeadSet, ...] = ()


MAX_DRAWS = 1000
"""Draws without a new pair after which there are taken to be no more."""


def couples(draw: Callable[[], Pair], n_prompts: int) -> tuple[Pair, ...]:
    """Draw pairs, each followed by its twin: clean and corrupted, right and wrong exchanged.

    A model that does not look at what differs between the prompts of a pair has a mean logit
    difference of exactly 0 in every couple. No prompt comes twice, so couples are independent.
    An odd `n_prompts` is rounded down, and fewer come if `draw` has no more.
    """
    pairs: list[Pair] = []
    seen: set[str] = set()
    draws = 0
    while len(pairs) < n_prompts - 1 and draws < MAX_DRAWS:
        pair = draw()
        prompts = {pair.clean, pair.corrupted}
        draws += 1
        if not seen & prompts:
            pairs += [pair, twin(pair)]
            seen |= prompts
            draws = 0
    return tuple(pairs)


def twin(pair: Pair) -> Pair:
    """Return a pair with its prompts and its answers exchanged; roles of words are left out."""
    return replace(
        pair,
        clean=pair.corrupted,
        corrupted=pair.clean,
        correct=pair.wrong,
        wrong=pair.correct,
        spans={},
    )


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Fill the gaps of a template such as "The {noun} lasted".

    Returns:
        The text, and the character span of each gap; a gap that occurs twice has its first span.
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
