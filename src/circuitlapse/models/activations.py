"""The activations of a model on the prompts of a task, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.models.batching import (
    AUTOMATIC,
    Limits,
    bytes_per_run,
    in_batches,
    refuse_beyond_memory,
)
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import LayerTrace, at_end, embed_tokens, end_logits, run_layers
from circuitlapse.models.memory import memory_for
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.models.prompts import PromptPairs

Result = TypeVar("Result")

SIDES = ("clean", "corrupted")

DIMS = {
    "embed": ("prompt", "pos", "d_model"),
    "z": ("prompt", "pos", "layer", "head", "d_head"),
    "mlp_out": ("prompt", "pos", "layer", "d_model"),
    "pattern": ("prompt", "layer", "head", "query", "key"),
    "ln1_scale": ("prompt", "pos", "layer"),
    "ln2_scale": ("prompt", "pos", "layer"),
    "final_scale": ("prompt", "pos"),
    "resid_end": ("prompt", "d_model"),
    "logits_end": ("prompt", "vocab"),
}
"""Axis names of every part of `RunActivations`."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What every source of the graph writes to the residual stream, heads as their z.

    Attributes:
        embed: output of the token embedding.
        z: what each head mixed from its values; times W_O it is the head's output.
        mlp_out: output of each MLP.
        attn_out: sum of all heads' outputs of each layer and the output bias.
    """

    embed: Float[Tensor, "prompt pos d_model"]
    z: Float[Tensor, "prompt pos layer head d_head"]
    mlp_out: Float[Tensor, "prompt pos layer d_model"]
    attn_out: Float[Tensor, "prompt pos layer d_model"]

    def map(self, function: Callable[[Tensor], Tensor]) -> Outputs:
        """Return the same record with `function` applied to every part."""
        return Outputs(*(function(getattr(self, f.name)) for f in fields(self)))

    def batch(self, start: int, stop: int) -> Outputs:
        """Return the prompts from `start` up to, not including, `stop`."""
        return self.map(lambda part: part[start:stop])


@dataclass(frozen=True, eq=False)
class RunActivations:
    """One run, clean or corrupted, over all prompts.

    Attributes:
        embed: output of the token embedding.
        z: what each head mixed from its values; times W_O it is the head's output.
        mlp_out: output of each MLP.
        pattern: attention probabilities.
        ln1_scale, ln2_scale, final_scale: what each norm divides by; see `Norm.scale`.
        resid_end: residual stream before the final LayerNorm at the end position.
        logits_end: logits at the end position.
    """

    embed: Float[Tensor, "prompt pos d_model"]
    z: Float[Tensor, "prompt pos layer head d_head"]
    mlp_out: Float[Tensor, "prompt pos layer d_model"]
    pattern: Float[Tensor, "prompt layer head query key"]
    ln1_scale: Float[Tensor, "prompt pos layer"]
    ln2_scale: Float[Tensor, "prompt pos layer"]
    final_scale: Float[Tensor, "prompt pos"]
    resid_end: Float[Tensor, "prompt d_model"]
    logits_end: Float[Tensor, "prompt vocab"]

    def outputs(self, model: Decoder) -> Outputs:
        """Return what the sources of the graph write."""
        layers = enumerate(model.blocks)
        attn_out = [block.attn.write(self.z[:, :, layer]) for layer, block in layers]
        attn = torch.stack(attn_out, 2)  # [prompt, pos, layer, d_model]
        return Outputs(self.embed, self.z, self.mlp_out, attn)

    def take(self, rows: Int[ndarray, " row"]) -> RunActivations:
        """Return copies of the prompts at the given places, in that order."""
        index = torch.as_tensor(rows, device=self.embed.device)  # prompts are the first axis
        return RunActivations(*(getattr(self, part.name)[index] for part in fields(self)))


@dataclass(frozen=True, eq=False)
class PairActivations:
    """The clean and the corrupted run of the same prompt pairs."""

    clean: RunActivations
    corrupted: RunActivations

    @property
    def end_logits(self) -> tuple[Tensor, Tensor]:
        """The clean and the corrupted logits at the end of each prompt."""
        return self.clean.logits_end, self.corrupted.logits_end

    def take(self, rows: Int[ndarray, " row"]) -> PairActivations:
        """Return copies of the prompts at the given places, in that order."""
        return PairActivations(self.clean.take(rows), self.corrupted.take(rows))

    def check(self, pairs: PromptPairs) -> None:
        """Compare with the pairs that these activations are said to be of.

        Raises:
            ValueError: if their numbers of prompts or positions differ.
        """
        found, expected = tuple(self.clean.embed.shape[:2]), tuple(pairs.clean.shape)
        if found != expected:
            raise ValueError(
                f"activations are of {found[0]} prompts of {found[1]} positions, but there are "
                f"{expected[0]} pairs of {expected[1]}; pass those of these pairs, or none"
            )

    def metrics(
        self, pairs: PromptPairs, *, metric: str
    ) -> tuple[Float[ndarray, " prompt"], Float[ndarray, " prompt"]]:
        """Return the metric of the model on clean and on corrupted prompts, in float64.

        Both are scored with the clean answers.
        """
        clean, corrupted = (
            # In float32 also for a bfloat16 model; `pairs` holds the answers to the clean prompts.
            per_prompt_metric(run.logits_end.float(), pairs, metric=metric).cpu().double().numpy()
            for run in (self.clean, self.corrupted)
        )
        return clean, corrupted


@torch.no_grad()
def cache_activations(
    model: Model,
    pairs: PromptPairs,
    *,
    limits: Limits = AUTOMATIC,
) -> PairActivations:
    """Run every pair once clean and once corrupted, and keep what the analyses need.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        limits: how many prompts go through the model at once.
    """
    model = as_decoder(model)
    return PairActivations(*(_run(model, pairs, side, limits) for side in SIDES))


@torch.no_grad()
def run_outputs(model: Decoder, pairs: PromptPairs, *, side: str, limits: Limits) -> Outputs:
    """Run one side, `clean` or `corrupted`, and keep only what the sources write."""

    def run(part: PromptPairs) -> Outputs:
        embed = embed_tokens(model, getattr(part, side))
        layers = run_layers(model, embed)
        # Only these parts outlive the batch: patterns and residual streams are freed.
        return Outputs(embed, *(_stack(layers, name, 2) for name in ("z", "mlp_out", "attn_out")))

    return Outputs(*_joined(run, model, pairs, limits))


def clean_logits(
    model: Decoder, pairs: PromptPairs, *, limits: Limits
) -> Float[Tensor, "pair vocab"]:
    """Return the logits of the whole model at the end of each clean prompt."""
    return end_logits_of(model, pairs, side="clean", limits=limits)


@torch.no_grad()
def end_logits_of(
    model: Decoder, pairs: PromptPairs, *, side: str, limits: Limits
) -> Float[Tensor, "pair vocab"]:
    """Return the logits at the end of each prompt of one side, `clean` or `corrupted`."""

    def run(part: PromptPairs) -> Tensor:
        layers = run_layers(model, embed_tokens(model, getattr(part, side)))
        # Only one position per prompt is unembedded: [pair, vocab], not [pair, pos, vocab].
        return end_logits(model, at_end(layers[-1].after, part.end))

    return torch.cat(_batched(run, model, pairs, limits))


def _run(model: Decoder, pairs: PromptPairs, side: str, limits: Limits) -> RunActivations:
    def run(part: PromptPairs) -> RunActivations:
        embed = embed_tokens(model, getattr(part, side))
        layers = run_layers(model, embed)
        resid_end = at_end(layers[-1].after, part.end)  # [prompt, d_model]
        return RunActivations(
            embed=embed,
            z=_stack(layers, "z", 2),  # [prompt, pos, layer, head, d_head]
            mlp_out=_stack(layers, "mlp_out", 2),  # [prompt, pos, layer, d_model]
            pattern=_stack(layers, "pattern", 1),  # [prompt, layer, head, query, key]
            # The norms of all layers divide alike: their epsilon comes from the configuration.
            ln1_scale=model.blocks[0].ln1.scale(_stack(layers, "resid", 2)),
            ln2_scale=model.blocks[0].ln2.scale(_stack(layers, "mlp_resid", 2)),
            final_scale=model.ln_final.scale(layers[-1].after),
            resid_end=resid_end,
            logits_end=end_logits(model, resid_end),
        )

    return RunActivations(*_joined(run, model, pairs, limits))


def _joined(
    run: Callable[[PromptPairs], Any], model: Decoder, pairs: PromptPairs, limits: Limits
) -> Iterator[Tensor]:
    """Yield every field of the record that `run` returns, batches put together."""
    parts = _batched(run, model, pairs, limits)
    for part in fields(parts[0]):
        tensors = [getattr(record, part.name) for record in parts]
        with memory_for("the activations of all prompts"):
            joined = torch.cat(tensors) if len(tensors) > 1 else tensors[0]  # one needs no copy
        yield joined


def _batched(
    run: Callable[[PromptPairs], Result],
    model: Decoder,
    pairs: PromptPairs,
    limits: Limits,
) -> list[Result]:
    tokens = pairs.clean
    n_pos = tokens.shape[1]
    refuse_beyond_memory(model, n_pos=n_pos, limits=limits)
    return in_batches(
        len(pairs),
        size=limits.prompts(bytes_per_run(model, n_pos=n_pos), device=tokens.device),
        work=lambda batch: run(pairs.batch(batch.start, batch.stop)),
        what="running the model",
    )


def _stack(layers: list[LayerTrace], name: str, dim: int) -> Tensor:
    return torch.stack([getattr(layer, name) for layer in layers], dim)
