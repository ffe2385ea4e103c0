"""The corpus: its sentences, its tokenizer, and held-out text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from random import Random
from string import Formatter
from typing import Any

import numpy as np
from jaxtyping import UInt16
from numpy import ndarray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitlapse.pocket.grammar import LISTS, LONGEST_RUN, MEN, RULES, SHARES, WOMEN

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "[UNK]"
NEW_LINE = "\n"
VOCABULARY_SENTENCES = 10_000
"""Enough for every word of the grammar to occur many times."""
LONGEST_EVENT = 40
"""Most years from start to end; without a limit, a late year would often be right as the end."""
N_DOCUMENTS = 150
"""More than the 117 documents that a copy-suppression score takes with a held-out mean."""
DOCUMENT_SENTENCES = 12
"""Enough for the 61 tokens per document of that score: every line has at least 6."""

_PIECES = r"\n| ?[A-Za-z]+|'[a-z]+| ?[0-9]{2}|[^A-Za-z0-9\s]"
_YEARS = (*(f" {century}" for century in range(11, 18)), *(f"{year:02d}" for year in range(100)))


def make_sentences(n_sentences: int, *, seed: int | str) -> list[str]:
    """Return sentences of the grammar, without line ends; the same seed gives the same ones."""
    rng = Random(seed)
    kinds = rng.choices(list(SHARES), weights=list(SHARES.values()), k=n_sentences)
    return [_Sentence(rng).expand(kind, role="") for kind in kinds]


def make_documents(n_documents: int = N_DOCUMENTS, *, corpus_seed: int) -> list[str]:
    """Return held-out documents: sentences separated by line ends, as in the corpus.

    They are drawn with a seed that no corpus has. So they share sentences with the corpus of
    `corpus_seed` only by chance, mostly short ones.
    """
    n_sentences = n_documents * DOCUMENT_SENTENCES
    lines = make_sentences(n_sentences, seed=f"held out from corpus {corpus_seed}")
    return [
        NEW_LINE.join(lines[start : start + DOCUMENT_SENTENCES])
        for start in range(0, n_sentences, DOCUMENT_SENTENCES)
    ]


class _Sentence:
    """A sentence, with the choices that hold throughout it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._numbers = {"subject": rng.randrange(2), "other": rng.randrange(2)}
        self._bound = _bind(rng)

    def expand(self, rule: str, *, role: str) -> str:
        """Return the text of a random alternative of `rule`, in the number of `role`."""
        chosen = self._rng.choice(RULES[rule])
        text = chosen if isinstance(chosen, str) else chosen[self._numbers[role]]
        return "".join(
            literal + (self._fill(gap, gap_role or role) if gap else "")
            for literal, gap, gap_role in _parse(text)
        )

    def _fill(self, gap: str, role: str) -> str:
        return self._bound.get(gap) or self.expand(gap, role=role)


def _bind(rng: Random) -> dict[str, str]:
    """Return the gaps that have one value per sentence."""
    s, io = rng.sample((*WOMEN, *MEN), 2)
    first, second = rng.sample((s, io), 2)
    start = rng.randint(1, 98)
    return {
        "s": s,
        "io": io,
        "first": first,
        "second": second,
        "she": "she" if s in WOMEN else "he",
        "century": str(rng.randint(11, 17)),
        "start": f"{start:02d}",
        "end": f"{rng.randint(start + 1, min(start + LONGEST_EVENT, 99)):02d}",
        **_bind_order(rng),
    }


def _bind_order(rng: Random) -> dict[str, str]:
    """Return a run of neighbours in a list, and an item with the next one.

    A list is chosen in proportion to its pairs of neighbours.
    """
    items = rng.choices(LISTS, weights=[len(items) - 1 for items in LISTS])[0]
    length = rng.randint(3, min(LONGEST_RUN, len(items)))
    start, at = rng.randrange(len(items) - length + 1), rng.randrange(len(items) - 1)
    run = ", ".join(items[start : start + length])
    return {"run": run, "item": items[at], "next": items[at + 1]}


@cache
def _parse(text: str) -> tuple[tuple[str, str, str], ...]:
    """Split a text into (literal, gap after it or "", role of that gap or "")."""
    return tuple((lit, gap or "", role or "") for lit, gap, role, _ in Formatter().parse(text))


def make_pocket_tokenizer() -> Tokenizer:
    """Return the tokenizer of the suite; it does not depend on the size or seed of a corpus."""
    return make_tokenizer(make_sentences(VOCABULARY_SENTENCES, seed=0))


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
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def encode_lines(sentences: Sequence[str], tokenizer: Tokenizer) -> UInt16[ndarray, " token"]:
    """Return the token ids of all sentences, each followed by the token of a line end."""
    encodings = tokenizer.encode_batch_fast([f"{sentence}{NEW_LINE}" for sentence in sentences])
    return np.concatenate([np.asarray(line.ids, dtype=np.uint16) for line in encodings])
