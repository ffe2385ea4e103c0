"""Lines of random words that come again and again, which teach a model to look back.

On such lines an induction head (arXiv 2209.11895) is the only thing that helps. On sentences
alone, none forms in as few steps as the pocket suite has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from random import Random

from tokenizers import Tokenizer

from circuitlapse.suite.tokenizer import END_OF_TEXT, NEW_LINE, UNKNOWN

FEWEST = 4
"""Words that come again and again in one line; at most half as many as there is room for."""

LATER = 0.03
"""Share of lines with repeated words among sentences; without any, what was learned fades."""


def repeated_lines(
    n_lines: int, *, tokenizer: Tokenizer, n_tokens: int, seed: int | str
) -> list[str]:
    """Return lines of exactly `n_tokens` tokens: a few random ones, over and over.

    Each has 4 to `n_tokens / 2` draws from all tokens that can follow any other.
    """
    rng = Random(seed)
    words = _joinable(tokenizer)
    return [_repeated(rng, words, n_tokens=n_tokens) for _ in range(n_lines)]


def _joinable(tokenizer: Tokenizer) -> list[str]:
    """Return the tokens that stay tokens behind any other: a word needs its space."""
    special = {END_OF_TEXT, UNKNOWN, NEW_LINE}
    return sorted(
        token for token in tokenizer.get_vocab() if token not in special and not token[0].isalpha()
    )


def _repeated(rng: Random, words: Sequence[str], *, n_tokens: int) -> str:
    once = rng.choices(words, k=rng.randint(FEWEST, n_tokens // 2))
    return "".join((once * n_tokens)[:n_tokens])


def with_repetitions(
    sentences: Sequence[str],
    *,
    first: int,
    tokenizer: Tokenizer,
    n_tokens: int,
    seed: int | str,
) -> list[str]:
    """Return `first` lines of repeated words, and then the sentences with a few more of them.

    Without lines at the start, there are none among the sentences.
    """
    if not first:
        return list(sentences)
    rng = Random(f"places of repeated lines in corpus {seed}")
    places = [rng.random() < LATER for _ in sentences]
    n_lines, drawn_with = first + sum(places), f"repeated lines of corpus {seed}"
    lines = iter(repeated_lines(n_lines, tokenizer=tokenizer, n_tokens=n_tokens, seed=drawn_with))
    start = list(islice(lines, first))
    pairs = zip(sentences, places, strict=True)
    return start + [next(lines) if repeats else sentence for sentence, repeats in pairs]
