"""Run 2: what the receivers get when one sender after the other is corrupted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitlapse.forward import layer_norm
from circuitlapse.graph import PORTS
from circuitlapse.path_patching.first_run import Runs
from circuitlapse.path_patching.plan import HeadPort, SenderHeads
from circuitlapse.path_patching.vectors import mlp, per_head

Received = dict[HeadPort, Float[Tensor, "sender pair window d_head"]]
"""Receiver -> its vectors, after one sender or another."""


def send(
    runs: Runs, senders: Sequence[SenderHeads]
) -> tuple[Received, Float[Tensor, "sender pair window d_model"]]:
    """Do run 2: return what the receivers get, and the residual stream behind the last of them.

    Senders are in the order of the layers of their first heads, and the rows of the residual
    stream are those that have come so far.
    """
    received: Received = {}
    among = _among(runs, senders)
    resid = runs.window(runs.clean[0].resid)[None][:0]
    for layer in range(runs.model.cfg.n_layers):
        received |= _ports_of(runs, layer, resid, len(senders))
        if layer == runs.plan.last:
            break
        resid = _past(runs, layer, resid, among)
    return received, resid


def _among(runs: Runs, senders: Sequence[SenderHeads]) -> Bool[Tensor, "layer sender head"]:
    """Return which heads each sender consists of, on the CPU: it is read to choose rows."""
    cfg = runs.model.cfg
    among = torch.zeros(cfg.n_layers, len(senders), cfg.n_heads, dtype=torch.bool)
    places = [(at, row, head) for row, heads in enumerate(senders) for at, head in heads]
    among[tuple(torch.tensor(places).T)] = True
    return among


def _ports_of(
    runs: Runs, layer: int, resid: Float[Tensor, "row pair window d_model"], n_senders: int
) -> Received:
    """Return what the receivers of a layer get; from senders that come later, nothing new."""
    attn, found = runs.model.blocks[layer].attn, {}
    wanted = runs.plan.received_in(layer)
    normed = layer_norm(resid, runs.model.blocks[layer].ln1) if wanted else resid
    for receiver in wanted:
        port, head = receiver.port.upper(), receiver.head
        clean = runs.clean[layer].ports[PORTS.index(receiver.port)]
        value = runs.window(per_head(runs.model, clean)[:, :, head]).repeat(n_senders, 1, 1, 1)
        weight, bias = (getattr(attn, f"{kind}_{port}")[head] for kind in "Wb")
        value[: len(resid)] = normed @ weight + bias
        found[receiver] = value
    return found


def _past(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    among: Bool[Tensor, "layer sender head"],
) -> Float[Tensor, "joined pair window d_model"]:
    """Return the residual streams after a layer of run 2, those that start here added."""
    block, clean = runs.model.blocks[layer], runs.clean[layer]
    n_joined = int(among[: layer + 1].any(2).any(0).sum())
    first = runs.window(clean.resid).expand(n_joined - len(resid), -1, -1, -1)
    rows, change = _changes(runs, layer, among[layer])
    middle = torch.cat([resid, first]).index_add_(0, rows, change) + runs.window(clean.attn_out)
    mlp_out = runs.window(clean.mlp_out)
    if runs.plan.freeze_mlps:
        return middle + mlp_out
    if not runs.model.cfg.parallel_attn_mlp:
        return middle + mlp(block, middle)
    return middle + torch.cat([mlp(block, resid), mlp_out.expand_as(first)])


def _changes(
    runs: Runs, layer: int, among: Bool[Tensor, "sender head"]
) -> tuple[Int[Tensor, " row"], Float[Tensor, "row pair window d_model"]]:
    """Return the senders with heads in a layer, and what these write, corrupted minus clean.

    What a head writes is the same for all senders. No row comes twice, so that adding them to
    the residual streams gives the same numbers every time, on a GPU as well.
    """
    rows, heads = (among.any(dim).nonzero()[:, 0] for dim in (1, 0))
    z = runs.window((runs.corrupted[layer].z - runs.clean[layer].z)[:, :, heads])
    each = torch.einsum("pwhe,hed->hpwd", z, runs.model.blocks[layer].attn.W_O[heads])
    weights = among[rows][:, heads].to(each)
    return rows.to(each.device), torch.einsum("rh,hpwd->rpwd", weights, each)
