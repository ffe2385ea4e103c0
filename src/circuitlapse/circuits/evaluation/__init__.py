"""Run circuits: edges outside a circuit carry an ablated output of their source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.evaluation.joint import bytes_per_prompt_jointly, run_jointly
from circuitlapse.circuits.evaluation.sparse import (
    bytes_per_prompt,
    make_plan,
    run_plan,
)
from circuitlapse.circuits.selection import Circuit
from circuitlapse.errors import DeviceMemoryError
from circuitlapse.models.ablation import ablated_outputs
from circuitlapse.models.activations import PairActivations, clean_logits
from circuitlapse.models.batching import AUTOMATIC, Limits, in_batches
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import embed_tokens
from circuitlapse.models.load import model_graph
from circuitlapse.models.metrics import ResidualMetric, needs_clean_logits
from circuitlapse.models.prompts import PromptPairs

__all__ = ["evaluate_circuits"]

Run = Callable[..., Iterator[Tensor]]
"""Returns the final residual streams [pair, d_model] of circuits; see `run_plan`."""

FEW = 4
"""If memory holds fewer prompts than this, the circuits are evaluated in two parts."""

_log = logging.getLogger(__name__)


@torch.no_grad()
def evaluate_circuits(
    model: Model,
    pairs: PromptPairs,
    circuits: Sequence[Circuit] | Circuit,
    *,
    metric: str,
    ablation: str = "corrupted",
    activations: PairActivations | None = None,
    limits: Limits = AUTOMATIC,
) -> Float[ndarray, "circuit pair"]:
    """Return the metric of every circuit on every pair, in float64.

    The clean prompt is run. Each receiver gets the sum, over all sources it can read, of
    the source's current output where the edge is in the circuit and of its ablated output
    where it is not. Attention patterns are recomputed. Only what differs from the ablated
    run is computed, and circuits share what they have in common, so the cost follows the size
    of the circuits rather than that of the model.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        circuits: circuits of this model's graph, or one alone.
        metric: `logit_diff` (logits), `prob_diff` (probability) or `kl_divergence` (nats).
        ablation: `corrupted` (output on the corrupted prompt), `zero`, or `mean` (over the clean
            prompts at the same position; see `models.ablation`).
        activations: of these pairs; None computes them.
        limits: how many prompts go through the model at once.

    Raises:
        ValueError: if a circuit belongs to another graph or `activations` are of other prompts.
        UnknownNameError: if the metric or the ablation is unknown.
        DeviceMemoryError: if one circuit on one prompt does not fit into memory.

    Source: Hanna et al. 2024 (arXiv 2403.17806), section 2.
    """
    model = as_decoder(model)
    graph = model_graph(model)
    circuits = [circuits] if isinstance(circuits, Circuit) else circuits
    for circuit in circuits:
        if circuit.graph != graph:
            raise ValueError(f"a circuit of {circuit.graph} cannot run in a model with {graph}")
    if activations is not None:
        activations.check(pairs)
    if not circuits:
        return np.zeros((0, len(pairs)))
    run = _Evaluation(model, pairs, activations, metric=metric, ablation=ablation, limits=limits)
    return run.values(circuits)


class _Evaluation:
    """Ablated outputs and clean logits, which all circuits and batches share."""

    def __init__(
        self,
        model: Decoder,
        pairs: PromptPairs,
        activations: PairActivations | None,
        *,
        metric: str,
        ablation: str,
        limits: Limits,
    ) -> None:
        self._model, self._pairs, self._metric, self._limits = model, pairs, metric, limits
        self._ablated = ablated_outputs(
            model, pairs, ablation=ablation, activations=activations, limits=limits
        )
        self._clean = activations.clean if activations is not None else None
        self._clean_logits = None
        if needs_clean_logits(metric):
            known = self._clean.logits_end if self._clean else None
            self._clean_logits = (
                clean_logits(model, pairs, limits=limits) if known is None else known
            )

    def values(self, circuits: Sequence[Circuit]) -> Float[ndarray, "circuit pair"]:
        """Return the metric of every circuit; as many at once as leave room for prompts."""
        model, tokens = self._model, self._pairs.clean
        run: Run
        if model.heads_are_joint:
            run = partial(run_jointly, model, circuits)
            needed = bytes_per_prompt_jointly(model, n_pos=tokens.shape[1])
        else:
            graph, is_a_run = circuits[0].graph, self._ablated.is_a_run
            plan = make_plan(graph, circuits, ablated_is_a_run=is_a_run)
            run = partial(run_plan, model, plan)
            needed = bytes_per_prompt(model, plan, n_pos=tokens.shape[1])
        size = self._limits.prompts(needed, device=tokens.device)
        # Fewer circuits in a pass leave room for more prompts; tiny batches are slow.
        divisible = len(circuits) > 1 and not model.heads_are_joint
        if divisible and not self._limits.batch_size and size < min(FEW, len(tokens)):
            return self._in_two_parts(circuits)
        try:
            return self._in_batches(run, size)
        except DeviceMemoryError:
            if not divisible:
                raise
        _log.warning(
            "evaluating circuits: out of memory with one prompt; retrying with half the circuits"
        )
        torch.cuda.empty_cache()
        return self._in_two_parts(circuits)

    def _in_two_parts(self, circuits: Sequence[Circuit]) -> Float[ndarray, "circuit pair"]:
        half = len(circuits) // 2
        return np.concatenate([self.values(circuits[:half]), self.values(circuits[half:])])

    def _in_batches(self, run: Run, size: int) -> Float[ndarray, "circuit pair"]:
        parts = in_batches(
            len(self._pairs),
            size=size,
            work=lambda batch: self._run(run, batch),
            what="evaluating circuits",
        )
        return np.concatenate(parts, axis=1)  # [circuit, pair]

    def _run(self, run: Run, batch: slice) -> Float[ndarray, "circuit pair"]:
        model, pairs = self._model, self._pairs.batch(batch.start, batch.stop)
        # [pair, pos, d_model]; the clean run is only needed for its embedding
        embed = self._clean.embed[batch] if self._clean else embed_tokens(model, pairs.clean)
        reference = None if self._clean_logits is None else self._clean_logits[batch]
        metric_of = ResidualMetric(model, pairs, metric=self._metric, clean_logits=reference)
        ablated = self._ablated.batch(batch.start, batch.stop)
        # One [pair, d_model] per circuit, made as it is asked for, so that only one is held.
        resid_ends = run(pairs, embed=embed, ablated=ablated)
        return torch.stack([metric_of(resid) for resid in resid_ends]).cpu().double().numpy()
