"""EAP with the exact change of attention for edges into queries and keys (AtP*, arXiv 2403.00745).

Where attention is saturated, the gradient of the softmax vanishes, although another query or key
would turn it elsewhere. For an edge into a query or key, `query_key_scores` therefore computes the
attention that its head would have if the edge carried its ablated message: through the norm, the
weights, the rotation and the softmax, none of them linearised. What changes, times the gradient at
the attention probabilities, is the score. A key changes at all positions at once, as when its edge
is patched, so that keys cost no more than queries. Edges into values, MLPs and logits keep the
scores of EAP. AtP*'s other correction, GradDrop, is not made.

Beside the passes of EAP, the change of every source is projected to queries, keys and values of
every later layer. That is the arithmetic of about n_sources / 8 forward passes; there are
1 + n_layers * (n_heads + 1) sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, split, unflatten

from circuitlapse.circuits.attribution.gradients import edge_sums, source_changes, sums_over_sets
from circuitlapse.circuits.attribution.interpolation import (
    Line,
    Point,
    input_gradients,
    total_weight,
)
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.forward import attention, start_of_stream
from circuitlapse.models.layers import Attention
from circuitlapse.models.load import model_graph

_Ports = tuple[Tensor, Tensor]
"""Queries and keys."""


def query_key_scores(
    model: Decoder, line: Line, *, points: Sequence[Point], runs_at_once: int
) -> Float[Tensor, "set source target"]:
    """Return scores summed over sets of prompts.

    Attention changes from that of the clean run; gradients are those at `points`. In models that
    normalise the queries (or keys) of a layer together, the norm is that of an edge into all of
    them.

    Args:
        model: the decoder.
        line: the two ends.
        points: of the line of the embedding.
        runs_at_once: points in one pass.
    """
    graph, clean = model_graph(model), line.clean
    gradients = input_gradients(
        model, line, points=points, runs_at_once=runs_at_once, with_attention=True
    )
    changes = source_changes(model, clean, line.ablated)
    sums = edge_sums(graph, changes, gradients, line.objective.pairs.end, line.sets)
    resid = start_of_stream(model, clean.embed)  # [pair, pos, d_model]
    for layer, block in enumerate(model.blocks):
        seen, at_attention = graph.n_visible(layer), gradients.at_attention(layer)
        # What one pass holds of all layers is what so many sources hold of one layer.
        parts = split(changes[:, :seen], model.cfg.n_layers, 1)
        effects = _Effects(block, resid, at_attention)
        per_pair = torch.cat([effects.of(part) for part in parts], 1)  # [pair, source, target]
        first, last = graph.port_targets(layer, "q").start, graph.port_targets(layer, "k").stop
        sums[:, :seen, first:last] = sums_over_sets(line.sets, per_pair)
        resid = resid + clean.attn_out[:, :, layer] + clean.mlp_out[:, :, layer]
    return sums / total_weight(points)


class _Effects:
    """Effects of changes of the residual stream through the attention of one layer."""

    def __init__(
        self,
        block: Block,
        resid: Float[Tensor, "pair pos d_model"],
        gradient: Float[Tensor, "pair head query key"],
    ) -> None:
        # In a narrow format, small changes would be lost in the sum with the residual stream.
        self._dtype = torch.promote_types(resid.dtype, torch.float32)
        self._norm, self._attn = block.ln1.to(self._dtype), _converted(block.attn, self._dtype)
        self._resid, self._gradient = resid.to(self._dtype)[:, None], gradient
        self._clean = self._queries_and_keys(self._resid)
        self._attention = attention(self._attn, *self._clean)  # [head, pair, query, key]

    @torch.no_grad()
    def of(
        self, changes: Float[Tensor, "pair source pos d_model"]
    ) -> Float[Tensor, "pair source target"]:
        """Return the effects into all queries, then into all keys."""
        n_sources = changes.shape[1]
        moved = self._queries_and_keys(self._resid + changes)
        query, key = (x.repeat_interleave(n_sources, 1) for x in self._clean)
        effects = []
        for ports in ((moved[0], key), (query, moved[1])):
            after = unflatten(attention(self._attn, *ports), 1, (-1, n_sources))
            change = after - self._attention[:, :, None]  # [head, pair, source, query, key]
            effects.append(torch.einsum("hbsqk,bhqk->bsh", change, self._gradient))
        return torch.cat(effects, 2)

    def _queries_and_keys(self, resid: Float[Tensor, "pair source pos d_model"]) -> _Ports:
        """Return both [head, pair * source, pos, d_head], as `attention` wants them."""
        query, key, _ = self._attn.ports(self._norm(resid))
        return query.flatten(0, 1).movedim(2, 0), key.flatten(0, 1).movedim(2, 0)


def _converted(attn: Attention, dtype: torch.dtype) -> Attention:
    """Return attention whose queries and keys are computed in another format."""
    if attn.qkv.dtype == dtype:
        return attn
    bias = None if attn.qkv_bias is None else attn.qkv_bias.to(dtype)
    norms = (None if norm is None else norm.to(dtype) for norm in (attn.q_norm, attn.k_norm))
    q_norm, k_norm = norms
    return replace(attn, qkv=attn.qkv.to(dtype), qkv_bias=bias, q_norm=q_norm, k_norm=k_norm)
