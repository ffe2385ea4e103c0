"""A word-level tokenizer that cuts text as the Pythia tokenizer cuts our prompts.

A space belongs to the word after it, " isn't" is " isn" and "'t", and " 1732" is the century
" 17" and the last two digits "32". So the task builders treat both tokenizers alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "[UNK]"
NEW_LINE = "\n"

_PIECES = r"\n| ?[A-Za-z]+|'[a-z]+| ?[0-9]{2}|[^A-Za-z0-9\s]"
_YEARS = (*(f" {century}" for century in range(11, 18)), *(f"{year:02d}" for year in range(100)))


def make_tokenizer(text: Iterable[str]) -> Tokenizer:
    """Return a tokenizer that knows the words of `text` and every year from 1100 to 1799.

    Decoding restores a known text exactly; another word becomes `[UNK]`. No token is added at
    the start of a text.
    """
    cut = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    words = {piece for line in text for piece, _ in cut.pre_tokenize_str(line)}
    known = [END_OF_TEXT, UNKNOWN, NEW_LINE, *_YEARS]
    known += sorted(words.difference(known))
    vocabulary = {word: index for index, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = cut
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
