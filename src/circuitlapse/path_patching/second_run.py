"""Run 2: what the receivers get when one sender after the other is corrupted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.forward import layer_norm
from circuitlapse.graph import PORTS
from circuitlapse.path_patching.first_run import Runs
from circuitlapse.path_patching.plan import Head, HeadPort
from circuitlapse.path_patching.vectors import mlp, per_head

Received = dict[HeadPort, Float[Tensor, "sender pair window d_head"]]
"""Receiver -> its vectors, after one sender or another."""


def send(
    runs: Runs, senders: Sequence[Head]
) -> tuple[Received, Float[Tensor, "sender pair window d_model"]]:
    """Do run 2: return what the receivers get, and the residual stream behind the last of them.

    Senders are in the order of their layers, and the rows of the residual stream are those that
    have come so far.
    """
    received: Received = {}
    resid = runs.window(runs.clean[0].resid)[None][:0]
    for layer in range(runs.model.cfg.n_layers):
        received |= _ports_of(runs, layer, resid, len(senders))
        if layer == runs.plan.last:
            break
        resid = _past(runs, layer, resid, [head for at, head in senders if at == layer])
    return received, resid


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
    runs: Runs, layer: int, resid: Float[Tensor, "row pair window d_model"], joining: list[int]
) -> Float[Tensor, "joined pair window d_model"]:
    """Return the residual streams after a layer of run 2, those of its own senders added."""
    block, clean, other = runs.model.blocks[layer], runs.clean[layer], runs.corrupted[layer]
    change = runs.window((other.z - clean.z)[:, :, joining])
    change = torch.einsum("pwhe,hed->hpwd", change, block.attn.W_O[joining])
    first = runs.window(clean.resid).expand(len(joining), -1, -1, -1)
    middle = torch.cat([resid, first + change]) + runs.window(clean.attn_out)
    mlp_out = runs.window(clean.mlp_out)
    if runs.plan.freeze_mlps:
        return middle + mlp_out
    if not runs.model.cfg.parallel_attn_mlp:
        return middle + mlp(block, middle)
    return middle + torch.cat([mlp(block, resid), mlp_out.expand_as(first)])
