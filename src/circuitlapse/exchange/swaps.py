"""Swap heads between checkpoints of one model.

Nothing is overwritten: the model with other heads is a new decoder, which shares all weights but
those of the layers with swapped heads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, unflatten

from circuitlapse.errors import ModelError, UnknownNameError, unknown_name
from circuitlapse.heads.matched_heads import Heads, matched_heads
from circuitlapse.models.activations import clean_logits
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.graph import Head
from circuitlapse.models.layers import Attention
from circuitlapse.models.load import all_heads
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import Groups, mean_interval
from circuitlapse.types import RANDOM_LIKE, HeadSet
from circuitlapse.types.status import SwapStatus

_SHAPE = (
    "architecture",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "d_model",
    "d_head",
    "d_mlp",
    "d_vocab",
    "n_ctx",
    "dtype",
)
_NOT_DRAWN = {"n_draws": pd.NA, "lowest_draw": np.nan, "highest_draw": np.nan}
_NOT_MEASURED = dict.fromkeys(
    ("swapped", "difference", "difference_low", "difference_high"), np.nan
)


def swapped(
    target: Model, source: Model, heads: Collection[Head], *, also: Collection[str] = ()
) -> Decoder:
    """Return `target` with heads of `source` in the place of its own.

    A head is its rows of the query, key and value weights and biases, and its columns of the
    output weight. The output bias belongs to all heads of a layer together and stays. Heads that
    share keys and values (grouped-query attention) get copies of their own first, so that one of
    them can be swapped without the others.

    Args:
        target: from `load_decoder` or `load_model`.
        source: another training step of the same model.
        heads: layer and head of each head to take.
        also: what else to take of all layers, of `PARTS`.

    Raises:
        ModelError: if the models have different shapes, or a head is not there.
        UnknownNameError: if `also` names something else.
    """
    target, source = as_decoder(target), as_decoder(source)
    _refuse(target, source, heads, also)
    model = target
    for part in also:
        model = PARTS[part](model, source)
    blocks = list(model.blocks)
    for layer in {layer for layer, _ in heads}:
        here = [head for at, head in heads if at == layer]
        attn = _with_heads(blocks[layer].attn, source.blocks[layer].attn, here)
        blocks[layer] = replace(blocks[layer], attn=attn)
    return replace(model, blocks=tuple(blocks))


def _with_heads(mine: Attention, theirs: Attention, heads: list[int]) -> Attention:
    """Return attention in which some heads are the other's."""
    mine, theirs = mine.ungrouped(), theirs.ungrouped()
    n_heads, index = mine.n_heads, torch.tensor(heads, device=mine.qkv.device)

    def rows(old: Tensor, new: Tensor) -> Tensor:
        # Queries of all heads, then keys, then values: [port, head, d_head, ...].
        both: Tensor = unflatten(old, 0, (3, n_heads, -1)).clone()
        both[:, index] = unflatten(new, 0, (3, n_heads, -1))[:, index]
        return both.flatten(0, 2)

    bias = mine.qkv_bias
    if bias is not None and theirs.qkv_bias is not None:
        bias = rows(bias, theirs.qkv_bias)

    out = unflatten(mine.out, 1, (n_heads, -1)).clone()  # [d_model, head, d_head]
    out[:, index] = unflatten(theirs.out, 1, (n_heads, -1))[:, index]
    return replace(
        mine,
        qkv=rows(mine.qkv, theirs.qkv),
        qkv_bias=bias,
        out=out.flatten(1),
    )


def _with_norms(mine: Decoder, theirs: Decoder) -> Decoder:
    names = ("q_norm", "k_norm", "norm_after")

    def of(block: Block, other: Block) -> Block:
        attn = replace(block.attn, **{name: getattr(other.attn, name) for name in names})
        mlp = replace(block.mlp, norm_after=other.mlp.norm_after)
        return Block(other.ln1, attn, other.ln2, mlp)

    return replace(_with_blocks(mine, theirs, of), ln_final=theirs.ln_final)


def _with_mlps(mine: Decoder, theirs: Decoder) -> Decoder:
    def of(block: Block, other: Block) -> Block:
        return replace(block, mlp=replace(other.mlp, norm_after=block.mlp.norm_after))

    return _with_blocks(mine, theirs, of)


def _with_rest(mine: Decoder, theirs: Decoder) -> Decoder:
    def of(block: Block, other: Block) -> Block:
        return replace(block, attn=replace(block.attn, out_bias=other.attn.out_bias))

    names = ("embed", "positions", "unembed")
    taken = {name: getattr(theirs, name) for name in names}
    return replace(_with_blocks(mine, theirs, of), **taken)


def _with_blocks(mine: Decoder, theirs: Decoder, of: Callable[[Block, Block], Block]) -> Decoder:
    pairs = zip(mine.blocks, theirs.blocks, strict=True)
    return replace(mine, blocks=tuple(of(block, other) for block, other in pairs))


PARTS: Mapping[str, Callable[[Decoder, Decoder], Decoder]] = {
    "layer_norms": _with_norms,
    "mlps": _with_mlps,
    "rest": _with_rest,
}
"""What can be taken beside heads; the rest is embeddings, unembedding and output biases."""


def swap_metric(
    target: Model,
    source: Model,
    heads: Collection[Head],
    pairs: PromptPairs,
    *,
    metric: str,
    also: Collection[str] = (),
    limits: Limits = AUTOMATIC,
) -> Float[ndarray, " pair"]:
    """Return the metric of `target` with heads of `source` on every clean prompt, in float64.

    Args:
        target: the model that gets other heads; see `swapped`.
        source: another checkpoint of the same model.
        heads: layer and head of each head to take; without any, the metric is that of the target.
        pairs: the prompts.
        metric: `logit_diff` (logits) or `prob_diff` (probability).
        also: see `swapped`.
        limits: how many prompts go through the model at once.
    """
    model = swapped(target, source, heads, also=also)
    logits = clean_logits(model, pairs, limits=limits).float()  # [pair, vocab]
    return per_prompt_metric(logits, pairs, metric=metric).cpu().double().numpy()


def swap_sets(
    target: Model,
    source: Model,
    sets: Mapping[HeadSet, Collection[Head]],
    pairs: PromptPairs,
    *,
    random_sets: int,
    seed: int,
    bootstrap: Bootstrap,
    **how: Any,
) -> list[dict[str, Any]]:
    """Swap one set of heads after the other; one row of measurements for each, and its control.

    Args:
        target: the model that gets other heads; see `swapped`.
        source: another checkpoint of the same model.
        sets: heads by name; for empty ones nothing is measured.
        pairs: the prompts.
        random_sets: number of random sets in the control, which is the mean over them; 0 for no
            control. `matched_heads` draws them.
        seed: of the draws.
        bootstrap: for the interval of the difference: groups of prompts are resampled, with and
            without the swap together; the draws of a control are kept.
        how: metric and limits; see `swap_metric`.
    """
    target, source = as_decoder(target), as_decoder(source)

    @cache  # sets of heads and draws are often the same
    def measure(heads: Heads) -> Float[ndarray, " pair"]:
        return swap_metric(target, source, heads, pairs, **how)

    every, baseline, rows = all_heads(target), measure(frozenset()), []
    for name, heads in sets.items():
        here = frozenset(heads)
        status = SwapStatus.OK if here else SwapStatus.NO_HEADS
        tried = {str(name): ([here] if here else [], status)}
        if random_sets:
            how_many = {"n_draws": random_sets, "seed": seed}
            control = matched_heads(here, every, **how_many) if here else ([], status)
            tried[RANDOM_LIKE + name] = control
        for head_set, (draws, status) in tried.items():
            row = {"head_set": head_set, "n_heads": len(here), "n": pairs.n_groups}
            row |= {"status": str(status), "baseline": baseline.mean()}
            row |= _NOT_DRAWN | _NOT_MEASURED
            if draws:
                values = np.stack([measure(one) for one in draws])  # [draw, pair]
                row |= _change(values, baseline, bootstrap, pairs.groups)
                row |= _spread(values) if head_set != name else {}
            rows.append(row)
    return rows


def _change(
    values: Float[ndarray, "draw pair"],
    baseline: Float[ndarray, " pair"],
    bootstrap: Bootstrap,
    groups: Groups,
) -> dict[str, Any]:
    """Return how the swap changes the metric, as a mean over draws and prompts."""
    # Paired: the same prompts with and without the swap, so their difference is resampled.
    low, high = mean_interval(values.mean(0) - baseline, bootstrap, groups)
    difference = values.mean() - baseline.mean()
    ends = {"difference_low": low, "difference_high": high}
    return {"swapped": values.mean(), "difference": difference} | ends


def _spread(values: Float[ndarray, "draw pair"]) -> dict[str, Any]:
    """Return how far the draws of a control are apart."""
    means = values.mean(1)  # [draw]
    return {"n_draws": len(means), "lowest_draw": means.min(), "highest_draw": means.max()}


def _refuse(
    target: Decoder,
    source: Decoder,
    heads: Collection[Head],
    also: Collection[str],
) -> None:
    for name in _SHAPE:
        mine, theirs = (getattr(model.cfg, name) for model in (target, source))
        if mine != theirs:
            raise ModelError(
                f"heads can be swapped between steps of one model only: {name} is {theirs} in the "
                f"source but {mine} in the target"
            )
    cfg = target.cfg
    for layer, head in heads:
        if not (0 <= layer < cfg.n_layers and 0 <= head < cfg.n_heads):
            raise ModelError(
                f"there is no head {head} in layer {layer}; the model has {cfg.n_layers} layers "
                f"of {cfg.n_heads} heads, both counted from 0"
            )
    for part in also:
        if part not in PARTS:
            raise UnknownNameError(unknown_name("part of a model", part, PARTS))
