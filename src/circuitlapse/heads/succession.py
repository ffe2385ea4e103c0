"""Succession: does a head turn a word into the next one of its list, Monday into Tuesday?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.heads.base import DEFAULTS, HeadScore, Subject
from circuitlapse.models.batching import in_batches
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import embed_tokens
from circuitlapse.models.layers import Attention
from circuitlapse.models.load import tokenizer_of
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import ORDERED_LISTS
from circuitlapse.types.status import ScoreStatus

SUCCESSION_LN = ("ln2", "none")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SuccessionList:
    """An ordered list in the tokens of a tokenizer.

    Attributes:
        items: token ids, each once; the candidates for every successor.
        first, second: positions in `items` of both members of each pair.
        dropped: words that are not one known token.
    """

    items: Int[Tensor, " item"]
    first: Int[Tensor, " pair"]
    second: Int[Tensor, " pair"]
    dropped: tuple[str, ...]


@torch.no_grad()
def succession(
    subject: Subject,
    *,
    succession_ln: str = DEFAULTS.succession_ln,
    tokenizer: Tokenizer | None = None,
) -> dict[str, HeadScore]:
    """Return the succession score of every head: a share of pairs, in [0, 1].

    For an item x of `ORDERED_LISTS` with embedding e, m = MLP_0(LN2_0(e)), and head h gives the
    item y of the same list the score m W_V W_O U[:, y]: raw weights, no biases, no LayerNorm
    after MLP_0. A pair (x, y) of neighbours is a success if y alone has the highest score of all
    items of the list. With all 288 pairs chance is 0.026. Pairs with a member that is not one token
    are left out; without any pair the score is NaN. In layer 0 it is formal only.

    Source: Gould et al. 2023 (arXiv 2312.09230). The reference counts ties as successes and
    gives MLP_0 the embedding without LN2, as `succession_ln="none"` does.

    Args:
        subject: gives the model; no prompts are needed.
        succession_ln: what MLP_0 reads, LN2 of the embedding (`ln2`) or the embedding (`none`).
        tokenizer: None takes the model's own.

    Raises:
        UnknownNameError: if `succession_ln` is unknown.
    """
    if succession_ln not in SUCCESSION_LN:
        raise UnknownNameError(unknown_name("succession_ln", succession_ln, SUCCESSION_LN))
    model = subject.model
    lists = _known_lists(tokenizer or tokenizer_of(model))
    n_pairs = sum(len(part.first) for part in lists)
    if not n_pairs:
        return {"succession": HeadScore.undefined(model, ScoreStatus.NO_TOKENS)}
    hits = torch.stack([_successes(model, part, succession_ln) for part in lists]).sum(0)
    return {"succession": HeadScore((hits / n_pairs).float().cpu(), n_pairs)}


def succession_lists(tokenizer: Tokenizer) -> dict[str, SuccessionList]:
    """Return `ORDERED_LISTS` in tokens: items that are one token after a space, and their pairs.

    The two neighbours of a dropped item do not form a pair.
    """
    vocabulary = Vocabulary(tokenizer)
    return {name: _in_tokens(words, vocabulary) for name, words in ORDERED_LISTS.items()}


def _in_tokens(words: tuple[str, ...], vocabulary: Vocabulary) -> SuccessionList:
    ids = {word: vocabulary.single_id(f" {word}") for word in words}
    place = {word: at for at, word in enumerate(vocabulary.single_words(ids))}
    pairs = [(place[a], place[b]) for a, b in pairwise(words) if a in place and b in place]
    first, second = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
    items = torch.tensor([ids[word] for word in place], dtype=torch.long)
    return SuccessionList(items, first, second, tuple(word for word in ids if word not in place))


def _known_lists(tokenizer: Tokenizer) -> list[SuccessionList]:
    lists = succession_lists(tokenizer)
    for name, part in lists.items():
        if part.dropped:
            _log.info(
                "succession: %s: %d words are not one token and are left out; pairs left: %d",
                *(name, len(part.dropped), len(part.first)),
            )
    return [part for part in lists.values() if len(part.first)]


def _successes(
    model: Decoder, part: SuccessionList, succession_ln: str
) -> Float[Tensor, "layer head"]:
    """Count the pairs whose successor alone has the highest score, per head."""
    items, first, second = (
        x.to(model.cfg.device) for x in (part.items, part.items[part.first], part.second)
    )
    unembed = _precise(model.unembed[items])  # [item, d_model]

    def count(batch: slice) -> Float[Tensor, "layer head"]:
        read = _precise(_effective_embedding(model, first[batch], succession_ln))
        layers = [_hits(_ov_scores(b.attn, read, unembed), second[batch]) for b in model.blocks]
        return torch.stack(layers)  # [layer, head]

    # A list is short, so that all its pairs are one batch.
    parts = in_batches(len(first), size=len(first), work=count, what="scoring succession")
    return torch.stack(parts).sum(0)


def _effective_embedding(
    model: Decoder, tokens: Int[Tensor, " item"], succession_ln: str
) -> Float[Tensor, "item d_model"]:
    block = model.blocks[0]
    embed = embed_tokens(model, tokens[:, None])  # each item is a prompt of its own
    return block.mlp(block.ln2(embed) if succession_ln == "ln2" else embed)[:, 0]


def _ov_scores(
    attn: Attention, x: Float[Tensor, "pair d_model"], unembed: Float[Tensor, "item d_model"]
) -> Float[Tensor, "head pair item"]:
    value = x @ _precise(attn.W_V)  # [head, pair, d_head]
    # W_O times the unembedding of the list first: a list has fewer items than d_model.
    return value @ (_precise(attn.W_O) @ unembed.T)


def _hits(
    scores: Float[Tensor, "head pair item"], second: Int[Tensor, " pair"]
) -> Float[Tensor, " head"]:
    at = second.view(1, -1, 1).expand(len(scores), -1, 1)  # [head, pair, 1]
    others = scores.scatter(2, at, -torch.inf).amax(2)  # best item but the successor [head, pair]
    return (scores.gather(2, at)[..., 0] > others).sum(1).double()


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
