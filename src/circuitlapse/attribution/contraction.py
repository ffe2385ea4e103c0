"""From what every source changes and what every receiver wants, to a score per edge."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import Outputs
from circuitlapse.attribution.gradients import GradientSum
from circuitlapse.forward import at_end
from circuitlapse.graph import Graph


def source_changes(
    model: TransformerBridge, clean: Outputs, ablated: Outputs
) -> Float[Tensor, "pair source pos d_model"]:
    """Return ablated minus clean output of every source, in float32.

    The output bias of attention belongs to no source: it is the same in both.
    """
    parts = [(ablated.embed - clean.embed)[:, None]]
    for layer, block in enumerate(model.blocks):
        mixed = ablated.z[:, :, layer] - clean.z[:, :, layer]
        parts.append(torch.einsum("bthe,hed->bhtd", mixed, block.attn.W_O))
        parts.append((ablated.mlp_out[:, :, layer] - clean.mlp_out[:, :, layer])[:, None])
    return torch.cat(parts, dim=1).float()


@torch.no_grad()
def edge_sums(
    graph: Graph,
    changes: Float[Tensor, "pair source pos d_model"],
    gradients: GradientSum,
    end: Int[Tensor, " pair"],
    *,
    rows: slice = slice(None),
) -> Float[Tensor, "source target"]:
    """Return, summed over pairs, change of source times summed gradient at target, in float64.

    Args:
        graph: names the axes.
        changes: of all sources.
        gradients: of the same pairs.
        end: end position of each pair; the logits are read there alone.
        rows: sources to score; the others, and what is no edge, stay 0.
    """
    scores = torch.zeros(graph.exists.shape, dtype=torch.float64)
    first, last, _ = rows.indices(len(graph.sources))

    def score(seen: int, columns: slice, grads: Tensor) -> None:
        stop = min(seen, last)
        if first < stop:
            change = changes[:, first:stop].flatten(2)
            per_pair = change @ grads.flatten(2).mT
            scores[first:stop, columns] = per_pair.double().sum(0).cpu()

    for layer in range(graph.n_layers):
        column = graph.mlp_target(layer)
        heads = slice(graph.port_targets(layer, "q").start, column)
        if first < graph.n_visible(layer):
            score(graph.n_visible(layer), heads, gradients.at_heads(layer))
        mlp = gradients.at_mlp(layer)[:, None]
        score(graph.n_visible_to_mlp(layer), slice(column, column + 1), mlp)
    per_pair = torch.einsum("bsd,bd->bs", at_end(changes.movedim(2, 1), end), gradients.at_logits())
    scores[first:last, -1] = per_pair[:, first:last].double().sum(0).cpu()
    return scores
