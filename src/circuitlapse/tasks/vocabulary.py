"""The tokenizer as tasks use it: which words it knows, and which are single tokens."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from functools import cache, cached_property
from typing import TYPE_CHECKING

from circuitlapse.errors import TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_log = logging.getLogger(__name__)

BOS_TOKENS = ("<|begin_of_text|>", "<|endoftext|>", "<bos>", "<s>", "[BOS]")
"""Tokens that begin a text, in the order in which they are looked up."""


class Vocabulary:
    """A tokenizer that adds no special tokens and reports unknown words.

    Training scripts leave settings in `tokenizer.json` that cut or pad a text; they are ignored.

    Args:
        tokenizer: of the `tokenizers` library.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = _uncut(tokenizer)
        self._single_ids: dict[tuple[str, ...], tuple[int | None, ...]] = {}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the tokenizer, the same however its file was formatted."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()

    @cached_property
    def unknown_id(self) -> int | None:
        """Id of the token for unknown words; None if every text can be spelled."""
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        return None if unknown is None else self.tokenizer.token_to_id(unknown)

    @cached_property
    def no_answers(self) -> frozenset[int]:
        """Ids that cannot be answers: special tokens and the unknown token."""
        added = self.tokenizer.get_added_tokens_decoder()
        special = {token_id for token_id, token in added.items() if token.special}
        return frozenset(special if self.unknown_id is None else special | {self.unknown_id})

    @property
    def bos_id(self) -> int:
        """Id of the token that begins a text.

        Raises:
            TaskError: if the tokenizer has none of `BOS_TOKENS`.
        """
        for token in BOS_TOKENS:
            token_id = self.tokenizer.token_to_id(token)
            if token_id is not None:
                return int(token_id)
        raise TaskError(
            f"prepend_bos is true, but the tokenizer has no token that begins a text (looked "
            f"for {', '.join(BOS_TOKENS)}); set prepend_bos to false"
        )

    def prompt_ids(self, text: str, *, prepend_bos: bool) -> list[int]:
        """Return the token ids of a prompt; a begin-of-text token that it has is not added again.

        Raises:
            TaskError: if `prepend_bos` is true and the tokenizer has no such token.
        """
        ids = self.ids(text)
        if not prepend_bos or self.begins_with_bos(text):
            return ids
        return [self.bos_id, *ids]

    def begins_with_bos(self, text: str) -> bool:
        """Whether the first token of `text` is one that begins a text."""
        bos = {self.tokenizer.token_to_id(token) for token in BOS_TOKENS}
        return bool(set(self.ids(text)[:1]) & bos)

    def ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any added token."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def tokens(self, text: str) -> list[str]:
        """Return the parts of `text` that are one token each."""
        spans = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return [text[start:stop] for start, stop in spans]

    def single_id(self, text: str) -> int | None:
        """Return the id of `text` if it is exactly one known, ordinary token, else None."""
        ids = self.ids(text)
        return ids[0] if len(ids) == 1 and ids[0] not in self.no_answers else None

    def single_ids(self, texts: tuple[str, ...]) -> tuple[int | None, ...]:
        """Return `single_id` of each text; cached, because prompts share their answers."""
        if texts not in self._single_ids:
            self._single_ids[texts] = tuple(self.single_id(text) for text in texts)
        return self._single_ids[texts]

    def text_of(self, token_id: int) -> str:
        """Return the text that is exactly this token.

        Raises:
            TaskError: if the tokenizer has no such token, or no text is this token alone, such as
                a special token or a part of a character.
        """
        decoded = self.tokenizer.decode([token_id], skip_special_tokens=False)
        # Some tokenizers, such as Llama's, drop the space at the start of what they decode.
        for text in (decoded, f" {decoded}"):
            if self.single_id(text) == token_id:
                return str(text)
        raise TaskError(
            f"token {token_id} is no word of the tokenizer (found {decoded!r}); ids are those of "
            "the tokenizer that the file was made for"
        )

    def knows(self, text: str) -> bool:
        """Whether no part of `text` is unknown."""
        return not self.unknown_parts(text)

    def unknown_parts(self, text: str) -> tuple[str, ...]:
        """Return the parts of `text` that are unknown, in order."""
        parts = zip(self.ids(text), self.tokens(text), strict=True)
        return tuple(part for token_id, part in parts if token_id == self.unknown_id)

    def position(self, text: str, span: tuple[int, int]) -> int:
        """Return the index of the token that holds the last character of `span`.

        Raises:
            ValueError: if no token does.
        """
        spans = self.tokenizer.encode(text, add_special_tokens=False).offsets
        for index, (start, stop) in enumerate(spans):
            if start < span[1] <= stop:
                return index
        raise ValueError(f"characters {span} of {text!r} are in no token")

    def single_words(self, words: Iterable[str]) -> tuple[str, ...]:
        """Keep the words that are one token when a space comes before them."""
        return tuple(word for word in words if self.single_id(f" {word}") is not None)

    def single_pairs(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Keep the (singular, plural) pairs of which both are one token after a space."""
        return tuple(pair for pair in pairs if len(self.single_words(pair)) == 2)


@cache
def _say_once(sentence: str) -> None:
    """Log a sentence, the first time only: a job makes many vocabularies of one tokenizer."""
    _log.info(sentence)


def _uncut(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer without truncation and padding; the given one is not changed."""
    settings = {"truncation": tokenizer.truncation, "padding": tokenizer.padding}
    found = {name: value for name, value in settings.items() if value is not None}
    if not found:
        return tokenizer
    _say_once(f"the tokenizer's settings {found} are ignored: prompts stay whole")
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
