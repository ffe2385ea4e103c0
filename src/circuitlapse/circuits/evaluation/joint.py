"""Evaluate circuits one by one in models whose heads of a layer depend on each other.

Where queries and keys of all heads are normalised together, or the sum of all heads is (OLMo-2),
a head that differs from the ablated run changes what the others write. So every node of every
circuit is computed from what it receives, inside the circuit or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.ablation import Ablated
from circuitlapse.models.activations import Outputs
from circuitlapse.models.batching import bytes_of_logits, bytes_per_number
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.forward import at_end, mix, start_of_stream
from circuitlapse.models.graph import PORTS
from circuitlapse.models.prompts import PromptPairs


def bytes_per_prompt_jointly(model: Decoder, *, n_pos: int) -> int:
    """Return an estimate of what one circuit holds at its peak, for one prompt."""
    cfg = model.cfg
    n_sources, inputs = 1 + cfg.n_layers * (cfg.n_heads + 1), 2 * len(PORTS) * cfg.n_heads
    per_position = cfg.d_model * (n_sources + inputs) + 6 * cfg.n_heads * cfg.d_head + 3 * cfg.d_mlp
    numbers = n_pos * (per_position + 2 * cfg.n_heads * n_pos)
    return int(bytes_per_number(model) * numbers) + bytes_of_logits(model)


def run_jointly(
    model: Decoder,
    circuits: Sequence[Circuit],
    pairs: PromptPairs,
    *,
    embed: Float[Tensor, "pair pos d_model"],
    ablated: Ablated,
) -> Iterator[Float[Tensor, "pair d_model"]]:
    """Yield the final residual stream at the end position, circuit by circuit; see `run_plan`."""
    for circuit in circuits:
        run = _Run(model, circuit, embed, ablated.outputs)
        yield at_end(run.final_stream(), pairs.end)


class _Run:
    """One circuit.

    `base` is the residual stream if every edge carried its ablated output; `changes` is by how
    much the output of each source so far differs from its ablated one.
    """

    def __init__(
        self,
        model: Decoder,
        circuit: Circuit,
        embed: Float[Tensor, "pair pos d_model"],
        ablated: Outputs,
    ) -> None:
        self._model, self._graph, self._ablated = model, circuit.graph, ablated
        self._mask = torch.from_numpy(circuit.mask).to(embed)  # [source, target]
        self._base = start_of_stream(model, ablated.embed)
        self._changes = embed.new_zeros(len(circuit.graph.sources), *embed.shape)
        self._changes[0] = embed - ablated.embed

    def final_stream(self) -> Float[Tensor, "pair pos d_model"]:
        """Return what the last norm reads."""
        for layer, block in enumerate(self._model.blocks):
            self._run_heads(layer, block)
            after = self._base + self._ablated.attn_out[:, :, layer]
            if not self._model.cfg.parallel_attn_mlp:  # the MLP reads what attention wrote
                self._base = after
            target = self._graph.mlp_target(layer)
            received = self._received(
                self._graph.n_visible_to_mlp(layer), slice(target, target + 1)
            )
            written = block.mlp(block.ln2(received[0]))
            known = self._ablated.mlp_out[:, :, layer]
            self._changes[self._graph.mlp_source(layer)] = written - known
            self._base = after + known
        last = len(self._graph.targets) - 1
        return self._received(len(self._graph.sources), slice(last, last + 1))[0]

    def _run_heads(self, layer: int, block: Block) -> None:
        attn, graph = block.attn, self._graph
        seen = graph.n_visible(layer)
        weights = zip(
            PORTS, (attn.W_Q, attn.W_K, attn.W_V), (attn.b_Q, attn.b_K, attn.b_V), strict=True
        )
        ports = []
        for port, weight, bias in weights:
            normed = block.ln1(self._received(seen, graph.port_targets(layer, port)))
            # [head, pair, pos, d_model] times [head, d_model, d_head]
            ports.append(torch.einsum("hbtm,hmd->hbtd", normed, weight) + bias[:, None, None])
        mixed = mix(attn, *ports)[0].movedim(0, 2)  # [pair, pos, head, d_head]
        moved = attn.divided(mixed)[0] - self._ablated.z[:, :, layer]
        self._changes[graph.head_sources(layer)] = torch.einsum("bthd,hdm->hbtm", moved, attn.W_O)

    def _received(self, seen: int, columns: slice) -> Float[Tensor, "target pair pos d_model"]:
        """Return the inputs of some targets, which read the first `seen` sources."""
        inside = torch.einsum("st,sbpd->tbpd", self._mask[:seen, columns], self._changes[:seen])
        return self._base + inside
