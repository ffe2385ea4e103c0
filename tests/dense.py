"""The definitions, carried out literally with TransformerLens hooks: slow, and for tests only.

Every head's query, key and value and every MLP get an input of their own, and every source's
whole output is at hand. Of a decoder only the folder is used: TransformerLens loads and runs it.
"""

from __future__ import annotations

import torch

from circuitlapse.models.graph import PORTS
from circuitlapse.models.metrics import per_prompt_metric
from tests.conftest import bridge_of


def run(model, tokens, pairs, hooks):
    """Return the logits at the end of each prompt, with hooks on separate inputs."""
    bridge = bridge_of(model)
    bridge.set_use_split_qkv_input(True)
    bridge.set_use_hook_mlp_in(True)
    try:
        mask = pairs.attention_mask.long()
        logits = bridge.run_with_hooks(
            tokens, return_type="logits", attention_mask=mask, fwd_hooks=hooks
        )
    finally:
        bridge.set_use_split_qkv_input(False)
        bridge.set_use_hook_mlp_in(False)
    return logits[torch.arange(len(pairs)), pairs.end]


def source_hooks(graph, write):
    """Return hooks that call `write(source, output)`; a returned tensor replaces the output."""

    def node(row):
        return lambda x, hook: write(row, x)

    hooks = [("embed.hook_out", node(0))]
    for layer in range(graph.n_layers):
        hooks.append((f"blocks.{layer}.attn.hook_z", lambda z, hook, at=layer: write((at, "z"), z)))
        hooks.append((f"blocks.{layer}.mlp.hook_out", node(graph.mlp_source(layer))))
    return hooks


def target_hooks(graph, read):
    """Return hooks that call `read(columns, n_visible, input)`, which may replace the input."""

    def hook(columns, seen):
        return lambda x, hook: read(columns, seen, x)

    hooks = []
    for layer in range(graph.n_layers):
        for port in PORTS:
            columns = graph.port_targets(layer, port)
            name = f"blocks.{layer}.attn.hook_{port}_input"
            hooks.append((name, hook(columns, graph.n_visible(layer))))
        mlp = graph.mlp_target(layer)
        seen = graph.n_visible_to_mlp(layer)
        hooks.append((f"blocks.{layer}.hook_mlp_in", hook(slice(mlp, mlp + 1), seen)))
    last = len(graph.targets) - 1
    hooks.append(("ln_final.hook_in", hook(slice(last, last + 1), len(graph.sources))))
    return hooks


def outputs_of_run(model, graph, tokens, pairs):
    """Return what every source writes [source, pair, pos, d_model]."""
    bridge = bridge_of(model)
    out = torch.zeros(len(graph.sources), *tokens.shape, model.cfg.d_model, dtype=model.cfg.dtype)

    def write(row, x):
        if isinstance(row, tuple):
            layer = row[0]
            x = torch.einsum("bthe,hed->hbtd", x, bridge.blocks[layer].attn.W_O)
            out[graph.head_sources(layer)] = x
        else:
            out[row] = x

    run(model, tokens, pairs, source_hooks(graph, write))
    return out


@torch.no_grad()
def evaluate(model, pairs, circuit, *, metric, ablated):
    """Return the metric of a circuit [pair]; `ablated` [source, pair, pos, d_model]."""
    graph, bridge = circuit.graph, bridge_of(model)
    missing = torch.zeros_like(ablated)
    outside = torch.from_numpy(graph.exists & ~circuit.mask).to(ablated)

    def write(row, x):
        if isinstance(row, tuple):
            layer = row[0]
            rows = graph.head_sources(layer)
            x = torch.einsum("bthe,hed->hbtd", x, bridge.blocks[layer].attn.W_O)
            missing[rows] = ablated[rows] - x
        else:
            missing[row] = ablated[row] - x

    def read(columns, seen, x):
        added = torch.einsum("sr,sbtd->btrd", outside[:seen, columns], missing[:seen])
        return x + (added if x.ndim == 4 else added[:, :, 0])

    hooks = [*source_hooks(graph, write), *target_hooks(graph, read)]
    logits = run(model, pairs.clean, pairs, hooks)
    return per_prompt_metric(logits, pairs, metric=metric).double().numpy()


def gradients(model, pairs, graph, *, embed, loss, edit=None):
    """Return the gradient of `loss(logits)` at every input [target, pair, pos, d_model]."""
    got, start = {}, embed.detach().clone().requires_grad_(True)

    def write(row, x):
        if row == 0:
            return start
        return edit(row, x) if edit else None

    def read(columns, seen, x):
        got[columns.start] = x.clone()
        return got[columns.start]

    hooks = [*source_hooks(graph, write), *target_hooks(graph, read)]
    with torch.enable_grad():
        value = loss(run(model, pairs.clean, pairs, hooks))
        grads = torch.autograd.grad(
            value, list(got.values()), allow_unused=True, materialize_grads=True
        )
    parts = [g if g.ndim == 4 else g[:, :, None] for g in grads]
    order = sorted(range(len(parts)), key=lambda i: list(got)[i])
    return torch.cat([parts[i] for i in order], dim=2).movedim(2, 0)
