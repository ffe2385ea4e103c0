"""The corpus: text of several kinds, its tokenizer, and held-out text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import UInt16
from numpy import ndarray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from circuitlapse.pocket.grammar import PROMPT_STARTS
from circuitlapse.pocket.lines import LINES, make_lines

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "[UNK]"
NEW_LINE = "\n"
VOCABULARY_LINES = 10_000
"""Of each kind; enough for every word of the grammar to occur many times."""
LINES_AT_ONCE = 500
"""Lines that are made before their tokens are counted."""
N_DOCUMENTS = 150
"""More than the 117 documents that a copy-suppression score takes with a held-out mean."""
DOCUMENT_SENTENCES = 12
"""Enough for the 61 tokens per document of that score: every line has at least 6."""
REPEATS = "repeats"
"""The kind of text that is made of tokens: random words, repeated."""
REPEATED_LENGTH = 79
"""Tokens of a line of repeated words; longer than most sequences, so that one line fills them."""
LOOP_SHARE = 0.15
"""Share of lines that repeat two or three words without a gap; they teach to look back at once."""
LOOP_LENGTHS = (2, 2, 3)
PHRASE_LENGTHS = range(3, 9)
"""Numbers of words that all other lines repeat."""
MOST_BETWEEN = 3
"""Most other words between two repeats. Without any, a head that looks back by a fixed distance
would be right about as often as an induction head, and models learn that first."""

_PIECES = r"\n| ?[A-Za-z]+|'[a-z]+| ?[0-9]{2}|[^A-Za-z0-9\s]"
_YEARS = (*(f" {century}" for century in range(11, 18)), *(f"{year:02d}" for year in range(100)))

Corpus = Mapping[str, UInt16[ndarray, " token"]]
"""Kind of text -> token ids of its lines, each followed by the token of a line end."""


def make_corpus(
    kinds: Iterable[str], tokenizer: Tokenizer, *, n_tokens: int, seed: int
) -> dict[str, UInt16[ndarray, " token"]]:
    """Return at least `n_tokens` tokens of each kind of text, in whole lines.

    Args:
        kinds: `REPEATS`, or names in `LINES`. What a kind holds does not depend on the others.
        tokenizer: of the suite.
        n_tokens: for each kind.
        seed: decides the lines.
    """
    return {
        kind: (_repeats if kind == REPEATS else _text)(kind, tokenizer, n_tokens, seed)
        for kind in kinds
    }


def _text(kind: str, tokenizer: Tokenizer, n_tokens: int, seed: int) -> UInt16[ndarray, " token"]:
    parts: list[UInt16[ndarray, " _"]] = []
    n_found = 0
    while n_found < n_tokens:
        lines = make_lines(kind, LINES_AT_ONCE, seed=f"{seed} {len(parts)}")
        parts.append(encode_lines(lines, tokenizer))
        n_found += len(parts[-1])
    return np.concatenate(parts)


def _repeats(
    kind: str, tokenizer: Tokenizer, n_tokens: int, seed: int
) -> UInt16[ndarray, " token"]:
    """Return lines of random words that come again, drawn from almost the whole vocabulary."""
    rng = np.random.default_rng([seed, *kind.encode()])
    ids = tokenizer.get_vocab()
    left_out = {ids.get(token) for token in (END_OF_TEXT, UNKNOWN, NEW_LINE, *PROMPT_STARTS)}
    words = np.array(sorted(set(ids.values()) - left_out), dtype=np.uint16)
    n_lines = -(-n_tokens // (REPEATED_LENGTH + 1))  # rounded up
    order = np.array([_order(rng) for _ in range(n_lines)])  # [line, pos]
    drawn = rng.choice(words, size=(n_lines, order.max() + 1))  # [line, word]
    lines = np.take_along_axis(drawn, order, axis=1)  # [line, pos]
    return np.pad(lines, ((0, 0), (0, 1)), constant_values=ids[NEW_LINE]).ravel()


def _order(rng: np.random.Generator) -> list[int]:
    """Return which of a line's words stands at each position; the first ones are its phrase."""
    is_loop = rng.random() < LOOP_SHARE
    length = int(rng.choice(LOOP_LENGTHS if is_loop else PHRASE_LENGTHS))
    most_between = 0 if is_loop else MOST_BETWEEN
    gaps = rng.integers(most_between + 1, size=REPEATED_LENGTH).tolist()  # more than needed
    order: list[int] = []
    n_used = length
    for gap in gaps:
        if len(order) >= REPEATED_LENGTH:
            break
        order += [*range(length), *range(n_used, n_used + gap)]
        n_used += gap
    return order[:REPEATED_LENGTH]


def make_documents(n_documents: int = N_DOCUMENTS, *, corpus_seed: int) -> list[str]:
    """Return held-out documents: sentences separated by line ends, as in the corpus.

    They are drawn with a seed that no corpus has. So they share sentences with the corpus of
    `corpus_seed` only by chance, mostly short ones.
    """
    n_sentences = n_documents * DOCUMENT_SENTENCES
    lines = make_lines("sentences", n_sentences, seed=f"held out from corpus {corpus_seed}")
    return [
        NEW_LINE.join(lines[start : start + DOCUMENT_SENTENCES])
        for start in range(0, n_sentences, DOCUMENT_SENTENCES)
    ]


def make_pocket_tokenizer() -> Tokenizer:
    """Return the tokenizer of the suite; it does not depend on the size or seed of a corpus."""
    kinds = (make_lines(kind, VOCABULARY_LINES, seed=0) for kind in LINES)
    return make_tokenizer(chain.from_iterable(kinds))


def make_tokenizer(text: Iterable[str]) -> Tokenizer:
    """Return a tokenizer that knows the words of `text` and every year from 1100 to 1799.

    Decoding restores a known text exactly; an unknown word becomes `[UNK]`. No token is added at
    the start of a text.
    """
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    words = {piece for line in text for piece, _ in split.pre_tokenize_str(line)}
    known = [END_OF_TEXT, UNKNOWN, NEW_LINE, *_YEARS]
    known += sorted(words.difference(known))
    vocabulary = {word: index for index, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([END_OF_TEXT, UNKNOWN])
    return tokenizer


def as_transformers(tokenizer: Tokenizer, *, context: int) -> Any:
    """Wrap a tokenizer for `save_pretrained`; `context` is the longest text, in tokens."""
    from transformers import PreTrainedTokenizerFast  # takes a second, and only models need it

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def encode_lines(lines: Sequence[str], tokenizer: Tokenizer) -> UInt16[ndarray, " token"]:
    """Return the token ids of all lines, each followed by the token of a line end."""
    encodings = tokenizer.encode_batch_fast([f"{line}{NEW_LINE}" for line in lines])
    return np.concatenate([np.asarray(line.ids, dtype=np.uint16) for line in encodings])
