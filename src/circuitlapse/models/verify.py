"""Compare our decoder with TransformerLens, which judges every model that enters a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.errors import ModelError
from circuitlapse.models.bridge import load_model
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import embed_tokens, end_logits, run_layers
from circuitlapse.models.load import load_decoder
from circuitlapse.models.prompts import PromptPairs

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from circuitlapse.tasks.encode import Task

JUDGE = "transformer-lens"
PAIRS_PER_TASK = 2
"""Pairs of each task whose prompts are compared."""
RANDOM_PROMPTS, RANDOM_TOKENS = 4, 32
"""Prompts without tasks, and their length."""
TOLERANCE = 1e-4
"""Largest difference that counts as rounding, relative to the largest value."""


@dataclass(frozen=True)
class Verification:
    """What the comparison found.

    Attributes:
        judge: the library that computed the other logits, with its version.
        n_prompts: number of prompts that were compared.
        difference: largest difference of two logits, relative to the largest logit.
    """

    judge: str
    n_prompts: int
    difference: float


@torch.no_grad()
def verify_model(folder: str | Path, tasks: Sequence[Task] = ()) -> Verification:
    """Compare the logits of our decoder with those of TransformerLens, in float32 on the CPU.

    The logits at all positions of a few prompts are compared, and the residual streams before
    them, which tell where the two part. One model is in memory at a time.

    Args:
        folder: laid out like a hub snapshot.
        tasks: their first prompts are used; without any, random tokens of the tokenizer.

    Raises:
        ModelError: if the two differ by more than `TOLERANCE`, naming the first layer that differs;
            if TransformerLens cannot load the model; or see `load_decoder`.
    """
    decoder = load_decoder(folder)
    prompts = [tokens for task in tasks for tokens in _prompts(task)] or _random_prompts(decoder)
    ours = [_streams_and_logits(decoder, tokens) for tokens in prompts]
    places, names = _places(decoder), _streams(decoder.cfg.n_layers)
    del decoder  # so that the memory of one model is enough
    judge = _judge(folder)
    largest = 0.0
    for tokens, mine in zip(prompts, ours, strict=True):
        logits, cache = judge.run_with_cache(tokens)
        theirs = [*(cache[name] for name in names), logits]
        for place, own, other in zip(places, mine, theirs, strict=True):
            difference = ((own - other).abs().max() / other.abs().max()).item()
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"{folder}: {place} of our decoder differ from those of TransformerLens by "
                    f"{difference:.2g} of the largest value, expected at most {TOLERANCE:g}; "
                    "circuits of this model would be wrong"
                )
        largest = max(largest, difference)
    return Verification(f"{JUDGE} {version(JUDGE)}", len(prompts), largest)


def _judge(folder: str | Path) -> TransformerBridge:
    try:
        return load_model(folder)
    except ModelError as error:
        raise ModelError(
            f"{error}; set checkpoints.verify to none to analyse it without this check"
        ) from error


def _random_prompts(decoder: Decoder) -> list[Int[Tensor, "1 pos"]]:
    """Return the same prompts at every call, without the tokens that no text has."""
    generator = torch.Generator().manual_seed(0)
    longest = min(decoder.cfg.n_ctx, decoder.cfg.window or decoder.cfg.n_ctx)
    shape = (RANDOM_PROMPTS, 1, min(RANDOM_TOKENS, longest))
    return list(torch.randint(decoder.n_tokens, shape, generator=generator))


def _prompts(task: Task) -> Iterator[Int[Tensor, "1 pos"]]:
    """Yield both prompts of the first pairs, one by one and without padding."""
    pairs = PromptPairs.from_task(task)
    for row in range(min(PAIRS_PER_TASK, len(pairs))):
        for side in (pairs.clean, pairs.corrupted):
            yield side[row : row + 1, : int(pairs.end[row]) + 1]


def _places(decoder: Decoder) -> list[str]:
    layers = range(decoder.cfg.n_layers)
    return ["the embeddings", *(f"the outputs of layer {layer}" for layer in layers), "the logits"]


def _streams(n_layers: int) -> list[str]:
    """Return TransformerLens' names of the stream before the first layer, and after each."""
    return ["blocks.0.hook_in", *(f"blocks.{layer}.hook_out" for layer in range(n_layers))]


def _streams_and_logits(
    decoder: Decoder, tokens: Int[Tensor, "1 pos"]
) -> list[Float[Tensor, "1 pos _"]]:
    layers = run_layers(decoder, embed_tokens(decoder, tokens))
    streams = [layers[0].resid, *(layer.after for layer in layers)]
    return [*streams, end_logits(decoder, streams[-1][0])[None]]
