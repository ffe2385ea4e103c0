"""Swap heads between checkpoints of one model.

A loaded model holds the weights of queries, keys and values twice: together, as the checkpoint
stores them, and split into three. Both copies are swapped, so that every way to run the model sees
the same weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.errors import ModelError, UnknownNameError, unknown_name
from circuitlapse.models.activations import clean_logits
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.graph import Head
from circuitlapse.models.load import all_heads
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import mean_interval
from circuitlapse.types import RANDOM_LIKE, HeadSet, SwapStatus

PARTS = ("layer_norms", "mlps", "rest")
"""What can be taken beside heads; the rest is embeddings, unembedding and output biases."""

_SHAPE = ("architecture", "n_layers", "n_heads", "d_model", "d_mlp", "d_vocab", "n_ctx", "dtype")
_NOT_DRAWN = {"n_draws": pd.NA, "lowest_draw": np.nan, "highest_draw": np.nan}
_NO_HEADS: dict[str, Any] = {
    "status": str(SwapStatus.NO_HEADS),
    **dict.fromkeys(("swapped", "difference", "difference_low", "difference_high"), np.nan),
}


@contextmanager
def swapped(
    target: TransformerBridge,
    source: TransformerBridge,
    heads: Collection[Head],
    *,
    also: Collection[str] = (),
) -> Iterator[TransformerBridge]:
    """Yield `target` with heads of `source` in the place of its own; put its own back afterwards.

    A head is its rows of the query, key and value weights and biases, and its columns of the
    output weight. The output bias belongs to all heads of a layer together and stays.

    Args:
        target: from `load_model`; its weights are overwritten for as long as the block lasts.
        source: another training step of the same model.
        heads: layer and head of each head to take.
        also: what else to take of all layers, of `PARTS`.

    Raises:
        ModelError: if the models have different shapes, or a head is not there.
        UnknownNameError: if `also` names something else.
    """
    _refuse(target, source, heads, also)
    # Views: what is copied into `mine` is in the target at once.
    mine, theirs = (list(_weights(model, heads, also)) for model in (target, source))
    kept = [weight.clone() for weight in mine]
    try:
        _copy(theirs, mine)
        yield target
    finally:
        _copy(kept, mine)


def swap_metric(
    target: TransformerBridge,
    source: TransformerBridge,
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
    with swapped(target, source, heads, also=also) as model:
        logits = clean_logits(model, pairs, limits=limits).float()  # [pair, vocab]
    return per_prompt_metric(logits, pairs, metric=metric).cpu().double().numpy()


def swap_sets(
    target: TransformerBridge,
    source: TransformerBridge,
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
        random_sets: number of random sets of the same size in the control, which is the mean over
            them; 0 for no control.
        seed: of the draws, which are the same for all sets of one size.
        bootstrap: for the interval of the difference: prompts are resampled, with and without the
            swap together; the draws of a control are kept.
        how: metric and limits; see `swap_metric`.
    """

    def measure(heads: Collection[Head]) -> Float[ndarray, " pair"]:
        return swap_metric(target, source, heads, pairs, **how)

    baseline, rows = measure(()), []  # [pair], without a swap
    for name, heads in sets.items():
        draws = random_heads(target, len(heads), n_draws=random_sets, seed=seed)
        for head_set, tried in ((name, [heads]), (RANDOM_LIKE + name, draws)):
            if not tried:
                continue
            row = {"head_set": str(head_set), "n_heads": len(heads), "n": len(pairs)}
            found = _NO_HEADS
            if heads:
                values = np.stack([measure(one) for one in tried])  # [draw, pair]
                found = _change(values, baseline, bootstrap) | {"status": str(SwapStatus.OK)}
                if head_set != name:
                    found |= _spread(values)
            rows.append(row | {"baseline": baseline.mean()} | _NOT_DRAWN | found)
    return rows


def _change(
    values: Float[ndarray, "draw pair"], baseline: Float[ndarray, " pair"], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Return how the swap changes the metric, as a mean over draws and prompts."""
    # Paired: the same prompts with and without the swap, so their difference is resampled.
    low, high = mean_interval(values.mean(0) - baseline, bootstrap)
    difference = values.mean() - baseline.mean()
    ends = {"difference_low": low, "difference_high": high}
    return {"swapped": values.mean(), "difference": difference} | ends


def _spread(values: Float[ndarray, "draw pair"]) -> dict[str, Any]:
    """Return how far the draws of a control are apart."""
    means = values.mean(1)  # [draw]
    return {"n_draws": len(means), "lowest_draw": means.min(), "highest_draw": means.max()}


def random_heads(model: TransformerBridge, n: int, *, n_draws: int, seed: int) -> list[list[Head]]:
    """Return several sets of `n` heads, each drawn at random.

    With the same seed, the sets for a smaller `n` are parts of those for a larger one.
    """
    # One order per draw, cut at n: smaller sets are parts of larger ones.
    every = all_heads(model)
    orders = (
        np.random.default_rng([seed, draw]).permutation(len(every)) for draw in range(n_draws)
    )
    return [[every[index] for index in order[:n]] for order in orders]


def _refuse(
    target: TransformerBridge,
    source: TransformerBridge,
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


@torch.no_grad()
def _copy(from_: list[Tensor], to: list[Tensor]) -> None:
    for old, new in zip(to, from_, strict=True):  # in place, through the views
        old.copy_(new)


def _weights(
    model: TransformerBridge, heads: Collection[Head], also: Collection[str]
) -> Iterator[Tensor]:
    """Yield views of all weights that are taken; of models of one shape, in one order."""
    for layer, head in heads:
        yield from _head_weights(model, layer, head)
    if "layer_norms" in also:
        norms = [norm for block in model.blocks for norm in (block.ln1, block.ln2)]
        for norm in (*norms, model.ln_final):
            yield from norm.parameters()
    if "mlps" in also:
        for block in model.blocks:
            yield from block.mlp.parameters()
    if "rest" in also:
        yield from model.embed.parameters()
        yield from model.unembed.parameters()
        for block in model.blocks:
            yield from _weight_and_bias(block.attn.o)[1:]  # the bias belongs to no single head
        if model.cfg.positional_embedding_type == "standard":
            yield from model.pos_embed.parameters()


def _head_weights(model: TransformerBridge, layer: int, head: int) -> Iterator[Tensor]:
    """Yield views of everything that one head reads with or writes with."""
    attn, (n_heads, d_head) = model.blocks[layer].attn, (model.cfg.n_heads, model.cfg.d_head)
    for port in (attn.q, attn.k, attn.v):
        for part in _weight_and_bias(port):
            # weight [head * d_head, d_model], bias [head * d_head]
            yield torch.unflatten(part, 0, (n_heads, d_head))[head]
    if model.cfg.architecture == "GPT2LMHeadModel":  # weights are [in, out]
        for part in _weight_and_bias(attn.qkv):  # queries of all heads, then keys, then values
            yield torch.unflatten(part, -1, (3, n_heads, d_head))[..., head, :]
        yield attn.o.weight.unflatten(0, (n_heads, d_head))[head]  # [d_head, d_model]
    else:  # weights are [out, in]
        for part in _weight_and_bias(attn.qkv):  # query, key and value of one head, then the next
            yield torch.unflatten(part, 0, (n_heads, 3, d_head))[head]
        yield attn.o.weight.unflatten(1, (n_heads, d_head))[:, head]  # [d_model, d_head]


def _weight_and_bias(linear: Any) -> list[Tensor]:
    return [part for part in (linear.weight, linear.bias) if part is not None]
