"""Carry out a plan on one batch of prompts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.ablation import Ablated
from circuitlapse.attention import HeadInputs, attend
from circuitlapse.evaluation.changes import Changes
from circuitlapse.evaluation.plan import Inputs, Job, Plan, Versions
from circuitlapse.forward import at_end, layer_norm, start_of_stream
from circuitlapse.prompts import PromptPairs


def run_plan(
    model: TransformerBridge,
    plan: Plan,
    pairs: PromptPairs,
    *,
    embed: Float[Tensor, "pair pos d_model"],
    ablated: Ablated,
) -> Iterator[Float[Tensor, "pair d_model"]]:
    """Yield the final residual stream at the end position, circuit by circuit.

    Args:
        model: from `load_model`.
        plan: of circuits of this model's graph.
        pairs: the prompts of this batch.
        embed: output of the embedding on the clean prompts.
        ablated: what edges outside a circuit carry, on the prompts of this batch.
    """
    yield from _Run(model, plan, pairs, embed, ablated).resid_ends()


class _Run:
    """The state of one run.

    `base` is the residual stream if every edge carried its ablated output; `changes` is by how
    much each computed output differs from its ablated one.
    """

    def __init__(
        self,
        model: TransformerBridge,
        plan: Plan,
        pairs: PromptPairs,
        embed: Float[Tensor, "pair pos d_model"],
        ablated: Ablated,
    ) -> None:
        self._model, self._plan, self._end = model, plan, pairs.end
        self._ablated = ablated.outputs
        self._base = start_of_stream(model, self._ablated.embed)
        self._changes = Changes(plan, embed, pairs.end)
        torch.sub(embed, self._ablated.embed, out=self._changes.place(0))

    def resid_ends(self) -> Iterator[Float[Tensor, "pair d_model"]]:
        parallel = bool(self._model.cfg.parallel_attn_mlp)
        for layer in range(self._model.cfg.n_layers):
            self._run_heads(layer)
            after = self._base + self._ablated.attn_out[:, :, layer]
            if not parallel:
                self._base = after
            self._run_mlps(layer)
            self._base = after + self._ablated.mlp_out[:, :, layer]
        for versions in self._plan.logits:
            yield self._sum([versions], end_only=True)[0, :, 0]

    def _run_heads(self, layer: int) -> None:
        stage, block = self._plan.heads[layer], self._model.blocks[layer]
        everywhere, ends = self._inputs(stage.inputs, block.ln1)
        for end_only, queries in ((False, everywhere), (True, ends)):
            jobs = stage.of(end_only=end_only)
            if not jobs:
                continue
            inputs = HeadInputs(
                heads=[job.head for job in jobs],
                query=[queries[job.rows[0]] for job in jobs],
                key=[everywhere[job.rows[1]] for job in jobs],
                value=[everywhere[job.rows[2]] for job in jobs],
            )
            z = attend(self._model, layer, inputs, end=self._end if end_only else None)
            self._keep_heads(layer, jobs, z, end_only=end_only)

    def _keep_heads(
        self,
        layer: int,
        jobs: dict[Job, int],
        z: Float[Tensor, "job pair query d_head"],
        *,
        end_only: bool,
    ) -> None:
        w_out = self._model.blocks[layer].attn.W_O
        known = self._known(self._ablated.z[:, :, layer], end_only=end_only)
        moved = z - known.movedim(2, 0)[[job.head for job in jobs]]
        for (job, version), change in zip(jobs.items(), moved, strict=True):
            out = self._changes.place(version).flatten(0, 1)
            torch.mm(change.flatten(0, 1), w_out[job.head], out=out)

    def _run_mlps(self, layer: int) -> None:
        stage, block = self._plan.mlps[layer], self._model.blocks[layer]
        inputs = self._inputs(stage.inputs, block.ln2)
        for end_only, rows in zip((False, True), inputs, strict=True):
            known = self._known(self._ablated.mlp_out[:, :, layer], end_only=end_only)
            for job, version in stage.of(end_only=end_only).items():
                torch.sub(block.mlp(rows[job.rows[0]]), known, out=self._changes.place(version))

    def _known(self, output: Float[Tensor, "pair pos ..."], *, end_only: bool) -> Tensor:
        return at_end(output, self._end)[:, None] if end_only else output

    def _inputs(self, inputs: Inputs, norm: torch.nn.Module) -> list[Tensor]:
        """Return the normalised inputs [row, pair, pos or 1, d_model], everywhere and at end."""
        return [
            layer_norm(self._sum(list(rows), end_only=end_only), norm) if rows else self._base[:0]
            for rows, end_only in ((inputs.everywhere, False), (inputs.at_end, True))
        ]

    def _sum(
        self, rows: list[Versions], *, end_only: bool
    ) -> Float[Tensor, "row pair pos_or_one d_model"]:
        base = self._known(self._base, end_only=end_only)
        return self._changes.sums(rows, end_only=end_only).add_(base)
