"""What a model computes on a task's prompts, kept so that it is computed only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.hooks import end_logits, recorder
from circuitlapse.prompts import PromptPairs

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


@dataclass(frozen=True)
class RunActivations:
    """One run, clean or corrupted, over all prompts.

    Attributes:
        embed: output of the token embedding.
        z: what each head mixed from its values; times W_O it is the head's output.
        mlp_out: output of each MLP.
        pattern: attention probabilities.
        ln1_scale, ln2_scale, final_scale: standard deviation that each LayerNorm divides by.
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

    def map(self, function: Callable[[Tensor], Tensor]) -> RunActivations:
        """Return the same record with `function` applied to every part."""
        return RunActivations(*(function(getattr(self, f.name)) for f in fields(self)))

    def batch(self, start: int, stop: int) -> RunActivations:
        """Return the prompts from `start` up to, not including, `stop`."""
        return self.map(lambda part: part[start:stop])


@dataclass(frozen=True)
class PairActivations:
    """The clean and the corrupted run of the same prompt pairs."""

    clean: RunActivations
    corrupted: RunActivations

    def batch(self, start: int, stop: int) -> PairActivations:
        """Return the prompts from `start` up to, not including, `stop`."""
        return PairActivations(self.clean.batch(start, stop), self.corrupted.batch(start, stop))


def batches(n_prompts: int, size: int | None) -> Iterator[tuple[int, int]]:
    """Cut 0..n_prompts into runs of at most `size` prompts (all of them when None)."""
    size = n_prompts if size is None else size
    for start in range(0, n_prompts, size):
        yield start, min(start + size, n_prompts)


@torch.no_grad()
def cache_activations(
    model: TransformerBridge, pairs: PromptPairs, *, batch_size: int | None = None
) -> PairActivations:
    """Run every pair once clean and once corrupted, and keep what the analyses need."""
    runs = []
    for side in ("clean", "corrupted"):
        parts = [
            _run(model, pairs.batch(start, stop), side)
            for start, stop in batches(len(pairs), batch_size)
        ]
        runs.append(
            RunActivations(
                *(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(RunActivations))
            )
        )
    return PairActivations(*runs)


def _run(model: TransformerBridge, pairs: PromptPairs, side: str) -> RunActivations:
    layers = range(model.cfg.n_layers)
    names = ["embed.hook_out", "ln_final.hook_in", "ln_final.hook_scale"]
    kinds = ("attn.hook_z", "mlp.hook_out", "attn.hook_pattern", "ln1.hook_scale", "ln2.hook_scale")
    names += [f"blocks.{layer}.{kind}" for layer in layers for kind in kinds]
    got: dict[str, Tensor] = {}
    hooks = [(name, recorder(got, name)) for name in names]
    logits = end_logits(model, getattr(pairs, side), pairs=pairs, hooks=hooks)

    def stack(kind: str, dim: int) -> Tensor:
        return torch.stack([got[f"blocks.{layer}.{kind}"] for layer in layers], dim)

    rows = torch.arange(len(pairs), device=logits.device)
    return RunActivations(
        embed=got["embed.hook_out"],
        z=stack("attn.hook_z", 2),
        mlp_out=stack("mlp.hook_out", 2),
        pattern=stack("attn.hook_pattern", 1),
        ln1_scale=stack("ln1.hook_scale", 2)[..., 0],
        ln2_scale=stack("ln2.hook_scale", 2)[..., 0],
        final_scale=got["ln_final.hook_scale"][..., 0],
        resid_end=got["ln_final.hook_in"][rows, pairs.end],
        logits_end=logits,
    )


def source_outputs(
    model: TransformerBridge, run: RunActivations
) -> Float[Tensor, "prompt pos source d_model"]:
    """Return what every source of the graph writes to the residual stream.

    The output bias of attention belongs to no node: it is the same in both runs.
    """
    parts = [run.embed[:, :, None]]
    for layer in range(model.cfg.n_layers):
        parts += [head_outputs(model, layer, run.z[:, :, layer]), run.mlp_out[:, :, layer, None]]
    return torch.cat(parts, dim=2)


def head_outputs(
    model: TransformerBridge, layer: int, z: Float[Tensor, "prompt pos head d_head"]
) -> Float[Tensor, "prompt pos head d_model"]:
    """Return z W_O per head."""
    return torch.einsum("bthe,hed->bthd", z, model.blocks[layer].attn.W_O)
