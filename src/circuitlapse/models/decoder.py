"""A decoder-only transformer: its shape, its weights and its tokenizer.

A block holds one attention and one MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from circuitlapse.models.layers import Attention, Mlp, Norm, Rotary


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder.

    Attributes:
        architecture: class in transformers, such as GPTNeoXForCausalLM.
        model_name: folder or name that messages use.
        n_layers, n_heads, d_model, d_head, d_mlp: sizes.
        n_kv_heads: heads with keys and values of their own.
        d_vocab: rows of the embedding, padding included.
        n_ctx: positions that the model was made for.
        window: positions that a head sees at most; None for all.
        parallel_attn_mlp: whether attention and MLP of a layer read the same stream.
        dtype, device: of all weights.
    """

    architecture: str
    model_name: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    window: int | None
    parallel_attn_mlp: bool
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, eq=False)
class Block:
    """One layer: attention reads through `ln1`, the MLP through `ln2`."""

    ln1: Norm
    attn: Attention
    ln2: Norm
    mlp: Mlp


@dataclass(frozen=True, eq=False)
class Decoder:
    """A model: what every function of the library computes with.

    Attributes:
        cfg: its shape.
        tokenizer: of its folder; None if it has none.
        embed: token embedding.
        positions: learned position embedding; None with rotary ones.
        blocks: the layers.
        ln_final: before the unembedding.
        unembed: the same tensor as `embed` in a model with tied embeddings.
    """

    cfg: DecoderConfig
    tokenizer: Tokenizer | None
    embed: Float[Tensor, "vocab d_model"]
    positions: Float[Tensor, "pos d_model"] | None
    blocks: tuple[Block, ...]
    ln_final: Norm
    unembed: Float[Tensor, "vocab d_model"]

    def __repr__(self) -> str:
        """Return for instance `Decoder(pythia-70m, 6 layers of 8 heads)`."""
        cfg = self.cfg
        return f"Decoder({cfg.model_name}, {cfg.n_layers} layers of {cfg.n_heads} heads)"

    def weights(self) -> Iterator[Tensor]:
        """Yield every weight once."""
        seen: set[int] = set()
        for weight in _tensors(self):
            if weight.data_ptr() not in seen:
                seen.add(weight.data_ptr())
                yield weight

    @cached_property
    def n_tokens(self) -> int:
        """How many rows of the unembedding are tokens; the others are padding."""
        known = n_ids(self.tokenizer) if self.tokenizer else self.cfg.d_vocab
        return min(known, self.cfg.d_vocab)

    @property
    def heads_are_joint(self) -> bool:
        """See `Attention.heads_are_joint`."""
        return any(block.attn.heads_are_joint for block in self.blocks)


def n_ids(tokenizer: Tokenizer) -> int:
    """Return the highest id of a tokenizer, plus 1; there may be gaps below."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def _tensors(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for each in part:
            yield from _tensors(each)
    elif is_dataclass(part) and not isinstance(part, Rotary):
        for each in fields(part):
            yield from _tensors(getattr(part, each.name))
