"""Edge attribution patching and its integrated-gradients form (arXiv 2310.10348, 2403.17806).

The score of edge u -> v is the mean over prompts of the sum, over positions and channels,
of (corrupted - clean output of u) times the gradient of minus the metric at v's input. The
methods differ only in the embeddings at which that gradient is taken and averaged.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import PairActivations, batches, source_outputs
from circuitlapse.attribution.gradients import receiver_gradients
from circuitlapse.graph import Graph
from circuitlapse.models import model_graph
from circuitlapse.prompts import PromptPairs
from circuitlapse.types import IgRule, Method


def clean_fractions(method: str, ig_steps: int, ig_rule: str) -> list[float]:
    """Return the points of the line from the corrupted (0) to the clean (1) embedding.

    `left` gives 0, 1/m, ..., (m-1)/m as the reference implementation uses; `midpoint`
    gives (k + 1/2)/m, whose error falls faster with m.
    """
    if method == Method.EAP:
        return [1.0]
    if method == Method.CLEAN_CORRUPTED:
        return [0.0, 1.0]
    shift = 0.5 if ig_rule == IgRule.MIDPOINT else 0.0
    return [(k + shift) / ig_steps for k in range(ig_steps)]


def interpolated_scores(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    activations: PairActivations,
    metric: str,
    fractions: list[float],
    batch_size: int | None,
) -> Float[Tensor, "source target"]:
    """Return scores summed over prompts and divided by their number, in float64."""
    graph = model_graph(model)
    total = torch.zeros(graph.exists.shape, dtype=torch.float64)
    for start, stop in batches(len(pairs), batch_size):
        part, acts = pairs.batch(start, stop), activations.batch(start, stop)
        grads = _mean_gradients(model, part, acts, metric=metric, fractions=fractions)
        change = source_outputs(model, acts.corrupted) - source_outputs(model, acts.clean)
        total += _contract(graph, change, grads)
    return total / len(pairs)


def _mean_gradients(
    model: TransformerBridge,
    pairs: PromptPairs,
    acts: PairActivations,
    *,
    metric: str,
    fractions: list[float],
) -> Float[Tensor, "pair pos target d_model"]:
    grads = None
    for fraction in fractions:
        embed = acts.corrupted.embed + fraction * (acts.clean.embed - acts.corrupted.embed)
        point = receiver_gradients(model, pairs, embed=embed, metric=metric)
        grads = point if grads is None else grads.add_(point)
    assert grads is not None
    return grads / len(fractions)


def _contract(
    graph: Graph,
    change: Float[Tensor, "pair pos source d_model"],
    grads: Float[Tensor, "pair pos target d_model"],
) -> Float[Tensor, "source target"]:
    """Multiply what every source changes with every later target's gradient, layer by layer."""
    scores = torch.zeros(graph.exists.shape, dtype=torch.float64)
    width = 3 * graph.n_heads + 1
    for layer in range(graph.n_layers):
        seen = graph.n_visible_to_mlp(layer)
        columns = slice(layer * width, (layer + 1) * width)
        scores[:seen, columns] = _sum(change[:, :, :seen], grads[:, :, columns])
    scores[:, -1:] = _sum(change, grads[:, :, -1:])
    return scores


def _sum(
    change: Float[Tensor, "pair pos source d_model"],
    grads: Float[Tensor, "pair pos target d_model"],
) -> Float[Tensor, "source target"]:
    per_prompt = torch.einsum("btsd,btrd->bsr", change, grads)
    return per_prompt.double().sum(0).cpu()
