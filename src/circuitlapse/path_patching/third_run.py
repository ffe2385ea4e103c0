"""Run 3: the clean prompt, with what the receivers got in run 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.attention import mix
from circuitlapse.forward import layer_norm
from circuitlapse.graph import PORTS, Head
from circuitlapse.path_patching.first_run import Runs
from circuitlapse.path_patching.second_run import Received
from circuitlapse.path_patching.vectors import mlp, per_head


def receive(
    runs: Runs, received: Received, n_senders: int
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "sender pair receiver key"]]:
    """Do run 3: return the last positions of the final residual stream, and the attention."""
    first, last = min(received)[0], runs.model.cfg.n_layers - 1
    resid = runs.window(runs.clean[first].resid)[None]
    seen: dict[Head, Tensor] = {}
    for layer in range(first, last + 1):
        here = {(r.head, r.port): value for r, value in received.items() if r.layer == layer}
        n_queries = 1 if layer == last else runs.at.shape[1]
        vectors = _vectors(runs, layer, resid, here, n_senders)
        resid, pattern = _attend(runs, layer, resid, vectors, n_queries)
        seen |= {at: pattern[at[1]] for at in runs.plan.attended if at[0] == layer}
    kept = [seen[at] for at in runs.plan.attended]
    shape = (n_senders, len(runs.pairs), 0, runs.pairs.clean.shape[1])
    return resid, torch.stack(kept, 2) if kept else resid.new_zeros(shape)


def _vectors(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    received: dict[tuple[int, str], Tensor],
    n_senders: int,
) -> list[Float[Tensor, "sender pair window head d_head"]]:
    """Return queries, keys and values of all heads of a layer, the receivers' replaced.

    There is one row for all senders in the first layer, where their residual streams agree.
    """
    block = runs.model.blocks[layer]
    normed = layer_norm(resid, block.ln1)
    vectors = []
    for port in PORTS:
        x = getattr(block.attn, port)(normed.flatten(0, 1)).view_as(resid)
        x = per_head(runs.model, x).repeat(n_senders // len(resid), 1, 1, 1, 1)
        for (head, name), value in received.items():
            if name == port:
                x[:, :, :, head] = value
        vectors.append(x)
    return vectors


def _attend(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    vectors: list[Float[Tensor, "sender pair window head d_head"]],
    n_queries: int,
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "head sender pair key"]]:
    """Return the last residual streams behind a layer of run 3, and attention from the end."""
    block, (query, *others) = runs.model.blocks[layer], vectors
    n_senders, n_pairs = query.shape[:2]
    clean = runs.clean[layer].ports[1:]
    ports = [query[:, :, -n_queries:]]
    ports += [_among(runs, x, new) for x, new in zip(clean, others, strict=True)]
    at = runs.at[:, -n_queries:].repeat(n_senders, 1)
    z, pattern = mix(runs.model, *(port.flatten(0, 1).movedim(2, 0) for port in ports), at=at)
    resid = resid[:, :, -n_queries:]
    attn_out = block.attn.o(z.movedim(0, 2).flatten(2))
    middle = resid + attn_out.view(n_senders, n_pairs, n_queries, -1)
    after = middle + mlp(block, resid if runs.model.cfg.parallel_attn_mlp else middle)
    return after, pattern[:, :, -1].reshape(len(pattern), n_senders, n_pairs, -1)


def _among(
    runs: Runs,
    clean: Float[Tensor, "pair pos d_model"],
    new: Float[Tensor, "sender pair window head d_head"],
) -> Float[Tensor, "sender pair pos head d_head"]:
    """Return vectors of the clean run, with the new ones at the positions of the window."""
    at = runs.at[None, :, :, None, None].expand_as(new)
    return per_head(runs.model, clean).repeat(len(new), 1, 1, 1, 1).scatter(2, at, new)
