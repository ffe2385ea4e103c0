"""Tokens by kind: function words and punctuation as single tokens, and all plain tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitlapse.errors import ModelError
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.load import tokenizer_of
from circuitlapse.tasks.vocabulary import Vocabulary

ARTICLES = "a an the"
PRONOUNS = """
    i you he she it we they me him her us them my your his its our their mine yours hers ours
    theirs myself himself herself itself themselves this that these those who whom whose which
    what one
"""
PREPOSITIONS = """
    of in to for with on at by from about as into like through after over between out against
    during without before under around among within along across behind toward upon off per via
"""
CONJUNCTIONS = "and or but nor so yet if because while although though since unless than whether"
AUXILIARIES = """
    be is are was were been being am have has had having do does did will would can could may might
    shall should must
"""
ADVERBS = "not no there here then when where why how also just only very too more most such"
CONTRACTIONS = "'s 't 're 've 'll 'd 'm n't \u2019s \u2019t"
PUNCTUATION = """
    . , ; : ! ? ' " - -- ( ) [ ] / ... ." ," ). ), & * # % $
    \u2019 \u201c \u201d \u2013 \u2014 \u2026
"""
CONTROL = ("\n", "\n\n", "\t", " ", "  ", "\u00a0", "<|endoftext|>")

_GRAMMAR = (ARTICLES, PRONOUNS, PREPOSITIONS, CONJUNCTIONS, AUXILIARIES, ADVERBS)
_MARKS = (CONTRACTIONS, PUNCTUATION)
FUNCTION_WORDS: tuple[str, ...] = (*" ".join(_GRAMMAR + _MARKS).split(), *CONTROL)
"""All of the above, without leading spaces and in lower case."""

_log = logging.getLogger(__name__)


def single_tokens(tokenizer: Tokenizer, words: Iterable[str] = FUNCTION_WORDS) -> set[int]:
    """Return the ids of all spellings of `words` that are one token of the tokenizer.

    The spellings of a word are lower case and capitalised, each with and without a leading space.
    Those that the tokenizer splits or does not know are left out, and counted in the log.
    """
    vocabulary = Vocabulary(tokenizer)
    cased = {case for word in words for case in (word, word.capitalize())}
    spelled = sorted({space + case for case in cased for space in ("", " ")})
    found = [_single_token(vocabulary, text) for text in spelled]
    tokens = {token for token in found if token is not None}
    _log.info(
        "function words: %d spellings are %d single tokens; %d others are left out",
        *(len(spelled), len(tokens), found.count(None)),
    )
    return tokens


def _single_token(vocabulary: Vocabulary, text: str) -> int | None:
    # Other than an answer, a function word may be a special token.
    ids = vocabulary.ids(text)
    return ids[0] if len(ids) == 1 and ids[0] != vocabulary.unknown_id else None


def plain_tokens(model: Decoder) -> Int[Tensor, " token"]:
    """Return the ids that are neither special tokens nor padding of the vocabulary, on the CPU.

    Raises:
        ModelError: if there are none, for example without a tokenizer in the model's folder.
    """
    known = torch.arange(model.n_tokens)  # the embedding may have more rows
    special = torch.tensor(sorted(Vocabulary(tokenizer_of(model)).no_answers), dtype=torch.long)
    plain = known[~torch.isin(known, special)]
    if not len(plain):
        raise ModelError(
            f"{model.cfg.model_name}: the tokenizer has no tokens but special ones; expected "
            "the tokenizer's files in the folder of the model"
        )
    return plain
