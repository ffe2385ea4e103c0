"""The definitions, carried out literally with hooks on a model of `transformers`: slow.

Every head's query, key and value and every MLP get an input of their own, and every source's
message is at hand. Only code of `transformers` computes what a node makes of its input. It is
meant for one small model of each family; `dense` does the same with TransformerLens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from circuitlapse.models.graph import PORTS, Graph
from circuitlapse.models.metrics import per_prompt_metric
from tests import families

Read = Callable[[slice, int, Tensor], Tensor]
"""(columns, number of sources seen, residual stream) -> inputs [pair, pos, column, d_model]."""
Write = Callable[[slice, Tensor], Tensor | None]
"""(rows, messages [row, pair, pos, d_model]) -> the messages that are sent instead, or None."""


@dataclass(frozen=True)
class Layer:
    """The modules of one layer.

    Attributes:
        block: the whole layer.
        before_attn: norm of the input of attention, or None.
        ports: module -> the ports that it computes.
        out: the output projection of attention.
        after_attn: norm of the output of attention, or None.
        mlp_input: the module whose input is what the MLP receives: a norm or the MLP.
        mlp_output: the module whose output is what the MLP sends: the MLP or a norm.
    """

    block: Any
    before_attn: Any
    ports: tuple[tuple[Any, str], ...]
    out: Any
    after_attn: Any
    mlp_input: Any
    mlp_output: Any


class Literal:
    """A model of which every node can be given an input of its own.

    Args:
        folder: of a model that `families.save` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.model = ungroup(families.hugging_face(folder, torch.float64))
        config = self.model.config
        self.n_heads = config.num_attention_heads
        parallel = getattr(config, "use_parallel_residual", False)
        self.graph = Graph(config.num_hidden_layers, self.n_heads, parallel=parallel)

    def end_logits(self, tokens, pairs, *, read=None, write=None):
        """Return the logits at the end of each prompt, with hooks on inputs and messages."""
        with self._hooks(read or _pass_on, write or _watch):
            logits = self.model(tokens, use_cache=False).logits
        return logits[torch.arange(len(pairs)), pairs.end]

    @cached_property
    def layers(self) -> list[Layer]:
        """The modules of all layers, by the names that `transformers` gives them."""
        kind, base = self.model.config.model_type, self.model.base_model
        if kind == "gpt_neox":
            return [
                Layer(
                    block,
                    block.input_layernorm,
                    ((block.attention.query_key_value, "interleaved"),),
                    block.attention.dense,
                    None,
                    block.post_attention_layernorm,
                    block.mlp,
                )
                for block in base.layers
            ]
        if kind == "gpt2":
            return [
                Layer(
                    block,
                    block.ln_1,
                    ((block.attn.c_attn, "qkv"),),
                    block.attn.c_proj,
                    None,
                    block.ln_2,
                    block.mlp,
                )
                for block in base.h
            ]
        return [self._llama_like(block, after=kind == "olmo2") for block in base.layers]

    def _llama_like(self, block: Any, *, after: bool) -> Layer:
        attn = block.self_attn
        return Layer(
            block,
            None if after else block.input_layernorm,
            ((attn.q_proj, "q"), (attn.k_proj, "k"), (attn.v_proj, "v")),
            attn.o_proj,
            block.post_attention_layernorm if after else None,
            block.mlp if after else block.post_attention_layernorm,
            block.post_feedforward_layernorm if after else block.mlp,
        )

    @contextmanager
    def _hooks(self, read: Read, write: Write) -> Iterator[None]:
        base = self.model.base_model
        embedding = self.model.get_input_embeddings()
        last = getattr(base, "ln_f", None) or getattr(base, "final_layer_norm", None) or base.norm
        handles = [
            embedding.register_forward_hook(self._send_whole(0, write)),
            last.register_forward_pre_hook(self._receive_whole(len(self.graph.targets) - 1, read)),
        ]
        for index, layer in enumerate(self.layers):
            handles += self._hook_layer(index, layer, read, write)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook_layer(self, index: int, layer: Layer, read: Read, write: Write) -> list[Any]:
        graph, seen = self.graph, {}
        columns = slice(graph.port_targets(index, "q").start, graph.mlp_target(index))

        def enter(module, args):
            inputs = read(columns, graph.n_visible(index), args[0])  # [pair, pos, column, d_model]
            seen["inputs"] = layer.before_attn.forward(inputs) if layer.before_attn else inputs

        def project(module, args, output, ports):
            # Every input goes through the whole module; each channel is taken from its own input.
            every = module.forward(seen["inputs"])  # [pair, pos, column, channel]
            column = self.column_of_channel(ports, every.shape[-1])
            return every.take_along_dim(column[None, None, None], 2)[:, :, 0]

        def mix(module, args):
            seen["z"] = args[0].unflatten(-1, (self.n_heads, -1))  # [pair, pos, head, d_head]

        def send(module, args, output):
            messages, bias = self._messages(layer, seen["z"])
            torch.testing.assert_close(messages.sum(0) + bias, output, rtol=1e-4, atol=1e-5)
            edited = write(graph.head_sources(index), messages)
            # The sum itself: norms in transformers round to float32, which a zero does not survive.
            return (messages if edited is None else edited).sum(0) + bias

        handles = [layer.block.register_forward_pre_hook(enter)]
        for module, ports in layer.ports:
            hook = module.register_forward_hook
            handles.append(hook(lambda *args, ports=ports: project(*args, ports)))
        handles.append(layer.out.register_forward_pre_hook(mix))
        handles.append((layer.after_attn or layer.out).register_forward_hook(send))
        mlp = self._receive_whole(graph.mlp_target(index), read, graph.n_visible_to_mlp(index))
        handles.append(layer.mlp_input.register_forward_pre_hook(mlp))
        mlp = self._send_whole(graph.mlp_source(index), write)
        handles.append(layer.mlp_output.register_forward_hook(mlp))
        return handles

    def column_of_channel(self, ports: str, n_channels: int) -> Tensor:
        """Return for each channel of a projection which of the inputs it is computed from."""
        shape = {"interleaved": (self.n_heads, 3, -1), "qkv": (3, self.n_heads, -1)}
        if ports in PORTS:
            head = torch.arange(self.n_heads)
            column = PORTS.index(ports) * self.n_heads + head
            return column.repeat_interleave(n_channels // self.n_heads)
        like = torch.arange(n_channels).view(shape[ports])
        head, port = torch.arange(self.n_heads), torch.arange(3)
        if ports == "interleaved":
            column = (port * self.n_heads)[None, :, None] + head[:, None, None]
        else:
            column = (port * self.n_heads)[:, None, None] + head[None, :, None]
        return column.expand_as(like).flatten()

    def _messages(self, layer: Layer, z: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return what each head sends [head, pair, pos, d_model], and what belongs to none."""
        weight = layer.out.weight  # [d_model, channel], or turned round in GPT-2
        weight = weight if type(layer.out).__name__ == "Conv1D" else weight.T
        per_head = weight.unflatten(0, (self.n_heads, -1))  # [head, d_head, d_model]
        messages = torch.einsum("bthe,hed->hbtd", z, per_head)
        bias = 0.0 if layer.out.bias is None else layer.out.bias
        if layer.after_attn is None:
            return messages, bias
        assert layer.out.bias is None
        norm, total = layer.after_attn, messages.sum(0)
        scale = (total.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
        return norm.weight * messages / scale, 0.0

    def _send_whole(self, row: int, write: Write):
        def hook(module, args, output):
            edited = write(slice(row, row + 1), output[None])
            return output if edited is None else edited[0]

        return hook

    def _receive_whole(self, column: int, read: Read, n_seen: int | None = None):
        seen = len(self.graph.sources) if n_seen is None else n_seen

        def hook(module, args):
            return (read(slice(column, column + 1), seen, args[0])[:, :, 0], *args[1:])

        return hook


def _pass_on(columns: slice, seen: int, x: Tensor) -> Tensor:
    return x[:, :, None].expand(-1, -1, columns.stop - columns.start, -1)


def _watch(rows: slice, messages: Tensor) -> None:
    return None


def messages_of_run(oracle: Literal, tokens, pairs) -> Tensor:
    """Return what every source sends [source, pair, pos, d_model]."""
    parts = {}

    def write(rows, messages):
        parts[rows.start] = messages

    with torch.no_grad():
        oracle.end_logits(tokens, pairs, write=write)
    return torch.cat([parts[row] for row in sorted(parts)])


def ablated_messages(oracle: Literal, pairs, ablation: str) -> Tensor:
    """Return what is sent along edges outside of a circuit [source, pair, pos, d_model]."""
    side = pairs.corrupted if ablation == "corrupted" else pairs.clean
    messages = messages_of_run(oracle, side, pairs)
    if ablation == "mean":
        return mean_by_position(messages, pairs)
    return torch.zeros_like(messages) if ablation == "zero" else messages


def mean_by_position(messages: Tensor, pairs) -> Tensor:
    """Return the mean of [source, pair, pos, d_model] over pairs, for fewer than ten of them.

    A position that not all of them reach takes the mean over all positions.
    """
    real = pairs.attention_mask
    means = messages[:, real].mean(1)[:, None].repeat(1, real.shape[1], 1)
    for position in range(int(pairs.end.min()) + 1):
        means[:, position] = messages[:, :, position].mean(1)
    return means[:, None].expand_as(messages)


@torch.no_grad()
def evaluate(oracle: Literal, pairs, mask, *, metric: str, ablated: Tensor):
    """Return the metric of the circuit of the edges in `mask` [pair]."""
    missing = torch.zeros_like(ablated)
    outside = torch.from_numpy(oracle.graph.exists & ~mask).to(ablated)

    def write(rows, messages):
        missing[rows] = ablated[rows] - messages

    def read(columns, seen, x):
        added = torch.einsum("sr,sbtd->btrd", outside[:seen, columns], missing[:seen])
        return x[:, :, None] + added

    logits = oracle.end_logits(pairs.clean, pairs, read=read, write=write)
    return per_prompt_metric(logits, pairs, metric=metric).numpy()


def gradients(oracle: Literal, pairs, *, metric: str, replaced: dict[int, Tensor]) -> Tensor:
    """Return the gradient of minus the metric at every input [target, pair, pos, d_model].

    Args:
        oracle: the model.
        pairs: the clean prompts are run; the metric is summed over them.
        metric: what is differentiated.
        replaced: first row of a group of sources -> the messages that they send.
    """
    inputs = {}

    def write(rows, messages):
        if rows.start in replaced or rows.start == 0:  # autograd records all that follows these
            return replaced.get(rows.start, messages).clone().requires_grad_(True)
        return None

    def read(columns, seen, x):
        inputs[columns.start] = _pass_on(columns, seen, x).clone()
        return inputs[columns.start]

    with torch.enable_grad():
        logits = oracle.end_logits(pairs.clean, pairs, read=read, write=write)
        loss = -per_prompt_metric(logits, pairs, metric=metric).sum()
        order = sorted(inputs)
        parts = torch.autograd.grad(
            loss, [inputs[at] for at in order], allow_unused=True, materialize_grads=True
        )
    return torch.cat(parts, 2).movedim(2, 0)


def scores(changes: Tensor, grads: Tensor, graph: Graph):
    """Return change of each source times gradient at each target, NaN where there is no edge."""
    values = torch.einsum("sbtd,rbtd->sr", changes, grads).numpy() / changes.shape[1]
    return np.where(graph.exists, values, np.nan)


def ungroup(model: Any) -> Any:
    """Give every query head of a model a copy of the key and value of its group."""
    config = model.config
    groups = getattr(config, "num_key_value_heads", config.num_attention_heads)
    copies = config.num_attention_heads // groups
    if copies == 1:
        return model
    for layer in model.base_model.layers:
        attn = layer.self_attn
        attn.num_key_value_groups = 1
        wide = getattr(attn, "k_norm", None)  # in OLMo-2 over all heads, in Qwen3 over one
        shared = [attn.k_proj.weight, attn.k_proj.bias, attn.v_proj.weight, attn.v_proj.bias]
        if wide is not None and len(wide.weight) != attn.head_dim:
            shared.append(wide.weight)
        for weight in shared:
            if weight is not None:
                heads = weight.data.unflatten(0, (groups, -1))
                weight.data = heads.repeat_interleave(copies, 0).flatten(0, 1)
    return model
