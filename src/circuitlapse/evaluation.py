"""Run a circuit: edges outside it carry what their source wrote on the corrupted prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import (
    PairActivations,
    batches,
    cache_activations,
    head_outputs,
    source_outputs,
)
from circuitlapse.graph import PORTS, Graph
from circuitlapse.hooks import end_logits, separate_inputs
from circuitlapse.metrics import per_prompt_metric
from circuitlapse.prompts import PromptPairs
from circuitlapse.selection import Circuit


@torch.no_grad()
def evaluate_circuits(
    model: TransformerBridge,
    pairs: PromptPairs,
    circuits: Sequence[Circuit],
    *,
    metric: str,
    activations: PairActivations | None = None,
    batch_size: int | None = None,
) -> Float[ndarray, "circuit pair"]:
    """Return the metric of every circuit on every pair, in float64.

    The clean prompt is run. Each receiver gets the sum, over all sources it can read, of
    the source's current output where the edge is in the circuit and of its output on the
    corrupted prompt where it is not. Attention patterns are computed anew.

    Args:
        model: from `load_model`.
        pairs: the prompts.
        circuits: circuits of this model's graph.
        metric: `logit_diff` or `prob_diff`.
        activations: of these pairs, when they are at hand; otherwise they are computed.
        batch_size: prompts per pass; None takes all at once.

    Raises:
        UnknownNameError: if the metric is unknown.
    """
    if activations is None:
        activations = cache_activations(model, pairs, batch_size=batch_size)
    values = np.zeros((len(circuits), len(pairs)))
    with separate_inputs(model):
        for start, stop in batches(len(pairs), batch_size):
            part = pairs.batch(start, stop)
            corrupted = source_outputs(model, activations.corrupted.batch(start, stop))
            corrupted = corrupted.permute(2, 0, 1, 3).contiguous()
            for row, circuit in enumerate(circuits):
                hooks = _Patch(model, circuit, corrupted).hooks()
                logits = end_logits(model, part.clean, pairs=part, hooks=hooks)
                scores = per_prompt_metric(logits.float(), part, metric=metric)
                values[row, start:stop] = scores.double().cpu().numpy()
    return values


class _Patch:
    """The hooks that hold a run to one circuit.

    `missing` is corrupted minus current output of every source, filled in as the run
    reaches it. A receiver's input gains what is missing from the edges it does not have.
    """

    def __init__(
        self,
        model: TransformerBridge,
        circuit: Circuit,
        corrupted: Float[Tensor, "source pair pos d_model"],
    ) -> None:
        self._model = model
        self._graph: Graph = circuit.graph
        self._corrupted = corrupted
        self._missing = torch.zeros_like(corrupted)
        outside: Bool[ndarray, "source target"] = self._graph.exists & ~circuit.mask
        self._outside = torch.from_numpy(outside).to(corrupted)

    def hooks(self) -> list[tuple[str, Any]]:
        """Return the hooks of one run; an object serves one run only."""
        hooks = [("embed.hook_out", self._record(0, lambda x: x))]
        for layer in range(self._graph.n_layers):
            hooks += self._layer_hooks(layer)
        last = slice(len(self._graph.targets) - 1, None)
        hooks.append(("ln_final.hook_in", self._patch(last, len(self._graph.sources))))
        return hooks

    def _layer_hooks(self, layer: int) -> list[tuple[str, Any]]:
        graph, prefix = self._graph, f"blocks.{layer}"
        hooks: list[tuple[str, Any]] = [
            (
                f"{prefix}.attn.hook_{port}_input",
                self._patch(graph.port_targets(layer, port), graph.n_visible(layer)),
            )
            for port in PORTS
        ]
        mlp = slice(graph.mlp_target(layer), graph.mlp_target(layer) + 1)
        return [
            *hooks,
            (
                f"{prefix}.attn.hook_z",
                self._record(
                    graph.head_sources(layer),
                    lambda z: head_outputs(self._model, layer, z).permute(2, 0, 1, 3),
                ),
            ),
            (f"{prefix}.hook_mlp_in", self._patch(mlp, graph.n_visible_to_mlp(layer))),
            (f"{prefix}.mlp.hook_out", self._record(graph.mlp_source(layer), lambda x: x)),
        ]

    def _record(self, rows: slice | int, output: Any) -> Any:
        def hook(x: Tensor, hook: Any) -> None:  # noqa: ARG001
            self._missing[rows] = self._corrupted[rows] - output(x)

        return hook

    def _patch(self, columns: slice, n_visible: int) -> Any:
        weights = self._outside[:n_visible, columns].T

        def hook(x: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            missing = self._missing[:n_visible]
            added = (weights @ missing.flatten(1)).reshape(-1, *missing.shape[1:])
            patched: Tensor = x + (added.permute(1, 2, 0, 3) if x.ndim == 4 else added[0])
            return patched

        return hook
