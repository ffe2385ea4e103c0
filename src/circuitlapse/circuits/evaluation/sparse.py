"""Evaluate many circuits in one pass that computes only what differs from the ablated run.

An edge outside a circuit carries its ablated output. So the input of a receiver is the ablated
residual stream plus, for every edge of the circuit into it, current minus ablated output of the
source. A `SparsePlan` lists the distinct inputs and nodes over all circuits; `run_plan` computes
each of them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.ablation import Ablated
from circuitlapse.models.batching import bytes_of_logits, bytes_per_number
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import HeadInputs, at_end, attend, multiply_heads, start_of_stream
from circuitlapse.models.graph import PORTS, Graph
from circuitlapse.models.layers import Norm
from circuitlapse.models.prompts import PromptPairs

NOT, AT_END, EVERYWHERE = 0, 1, 2
"""Where the output of a node is needed."""

Versions = tuple[int, ...]
"""Computed outputs (see `SparsePlan`) whose difference from the ablated ones an input adds up."""


@dataclass
class Inputs:
    """The distinct inputs of the receivers of one kind in one layer.

    Attributes:
        everywhere: those needed at all positions, in order.
        at_end: those needed at the end position only, in order.
    """

    everywhere: dict[Versions, int] = field(default_factory=dict)
    at_end: dict[Versions, int] = field(default_factory=dict)

    def row(self, versions: Versions, *, end_only: bool) -> int:
        """Return the index of an input, a new one if it was not there."""
        rows = self.at_end if end_only else self.everywhere
        return rows.setdefault(versions, len(rows))  # equal sums of changes share a row


@dataclass(frozen=True)
class NodeRun:
    """One node to compute: the head (0 for an MLP), its input rows, and where it is needed.

    `rows` are those of query, key and value, or the one of an MLP. With `end_only` the query
    and the MLP's input are rows of `Inputs.at_end`; keys and values are always everywhere.
    """

    head: int
    rows: tuple[int, ...]
    end_only: bool


@dataclass
class Stage:
    """All heads, or all MLPs, of a layer in all circuits; `nodes` maps a node to its version."""

    inputs: Inputs = field(default_factory=Inputs)
    nodes: dict[NodeRun, int] = field(default_factory=dict)

    def of(self, *, end_only: bool) -> dict[NodeRun, int]:
        """Return the nodes that are needed at the end only, or those needed everywhere."""
        return {node: at for node, at in self.nodes.items() if node.end_only == end_only}


@dataclass
class SparsePlan:
    """Stages in the order of the model, heads before the MLP of their layer.

    Attributes:
        heads, mlps: one stage per layer.
        logits: for each circuit, the versions that it adds up at the end of the model.
        slots: for each version, its row among those known everywhere; -1 for end-only ones.
            Version 0 is the clean embedding.
        n_everywhere: number of versions that are known at all positions.
    """

    heads: list[Stage]
    mlps: list[Stage]
    logits: list[Versions] = field(default_factory=list)
    slots: list[int] = field(default_factory=lambda: [0])
    n_everywhere: int = 1

    @property
    def largest_stage(self) -> int:
        """Most inputs and nodes of one stage at all positions."""
        return max(len(s.inputs.everywhere) + len(s.nodes) for s in (*self.heads, *self.mlps))


def make_plan(graph: Graph, circuits: Sequence[Circuit], *, ablated_is_a_run: bool) -> SparsePlan:
    """Plan the evaluation of circuits of one graph.

    Args:
        graph: of all circuits.
        circuits: any number, nested or not.
        ablated_is_a_run: see `circuitlapse.models.ablation.Ablated`.
    """
    layers = range(graph.n_layers)
    plan = SparsePlan([Stage() for _ in layers], [Stage() for _ in layers])
    for circuit in circuits:
        _Planner(plan, circuit, skip_ablated=ablated_is_a_run).add()
    return plan


def where_needed(circuit: Circuit) -> Int[ndarray, " source"]:
    """Return for every source where its output is needed: nowhere, at the end, everywhere."""
    graph = circuit.graph
    at_target = np.zeros(len(graph.targets), dtype=np.int8)  # where each input is read
    at_target[-1] = AT_END  # the logits
    needs = np.zeros(len(graph.sources), dtype=np.int8)

    def send(rows: slice) -> Int[ndarray, " row"]:
        needs[rows] = (at_target * circuit.mask[rows]).max(axis=1)
        return needs[rows]

    # Backwards: a source sends to later nodes only, so where those are needed is known by then.
    for layer in reversed(range(graph.n_layers)):
        mlp = graph.mlp_source(layer)
        at_target[graph.mlp_target(layer)] = send(slice(mlp, mlp + 1))[0]
        at_heads = send(graph.head_sources(layer))
        for port in PORTS:
            # A query at the end attends to all positions: keys and values are needed everywhere.
            at_port = at_heads if port == "q" else np.where(at_heads, EVERYWHERE, NOT)
            at_target[graph.port_targets(layer, port)] = at_port
    send(slice(0, 1))
    return needs


class _Planner:
    """Adds one circuit to a plan."""

    def __init__(self, plan: SparsePlan, circuit: Circuit, *, skip_ablated: bool) -> None:
        self._plan = plan
        self._graph = circuit.graph
        self._skip_ablated = skip_ablated
        self._needs = where_needed(circuit)
        self._version = np.full(len(circuit.graph.sources), -1)  # -1: not computed, so ablated
        self._version[0] = 0  # the clean embedding
        # The sources of target t are those from `starts[t]` up to `starts[t + 1]`.
        columns, self._sources = np.nonzero(circuit.mask.T)
        self._starts = np.searchsorted(columns, np.arange(len(circuit.graph.targets) + 1))

    def add(self) -> None:
        graph = self._graph
        for layer in range(graph.n_layers):
            first = graph.head_sources(layer).start
            for head in np.flatnonzero(self._needs[graph.head_sources(layer)]).tolist():
                targets = [graph.port_targets(layer, port).start + head for port in PORTS]
                self._add_node(self._plan.heads[layer], first + head, head, targets)
            mlp = graph.mlp_source(layer)
            self._add_node(self._plan.mlps[layer], mlp, 0, [graph.mlp_target(layer)])
        self._plan.logits.append(self._versions(len(graph.targets) - 1))

    def _versions(self, target: int) -> Versions:
        sources = self._sources[self._starts[target] : self._starts[target + 1]]
        known = self._version[sources]  # sources that are ablated anyway add nothing
        return tuple(known[known >= 0].tolist())

    def _add_node(self, stage: Stage, source: int, head: int, targets: list[int]) -> None:
        if self._needs[source] == NOT:
            return
        received = [self._versions(target) for target in targets]
        if self._skip_ablated and not any(received):
            return  # every input is that of the ablated run, and so is the output
        end_only = bool(self._needs[source] == AT_END)
        rows = tuple(
            # The query, or the input of an MLP, comes first and may be read at the end only.
            stage.inputs.row(versions, end_only=end_only and index == 0)
            for index, versions in enumerate(received)
        )
        self._version[source] = self._number(stage, NodeRun(head, rows, end_only))

    def _number(self, stage: Stage, node: NodeRun) -> int:
        plan = self._plan
        # The same node with the same inputs may be in several circuits: it is computed once.
        if node not in stage.nodes:
            stage.nodes[node] = len(plan.slots)
            plan.slots.append(-1 if node.end_only else plan.n_everywhere)
            plan.n_everywhere += not node.end_only
        return stage.nodes[node]


def bytes_per_prompt(model: Decoder, plan: SparsePlan, *, n_pos: int) -> int:
    """Return an estimate of what `run_plan` holds at its peak, for one prompt of `n_pos` tokens.

    All computed outputs, the inputs of the largest stage before and after LayerNorm, its
    queries, keys, values and attention scores, one MLP's hidden layer, and some rows of logits.
    """
    cfg = model.cfg
    stage = plan.largest_stage
    per_position = cfg.d_model * (plan.n_everywhere + 3 * stage) + 4 * stage * cfg.d_head
    per_position += 2 * stage * n_pos + 3 * cfg.d_mlp
    numbers = n_pos * per_position + cfg.d_model * len(plan.slots)
    return int(bytes_per_number(model) * numbers) + bytes_of_logits(model)


class KnownChanges:
    """One change per version of a plan, known at all positions or at the end position only.

    Args:
        plan: says which versions there are.
        like: a tensor [pair, pos, d_model] of the right shape, dtype and device.
        end: end position of each pair.
    """

    def __init__(
        self, plan: SparsePlan, like: Float[Tensor, "pair pos d_model"], end: Int[Tensor, " pair"]
    ) -> None:
        self._slots, self._end = plan.slots, end
        self._everywhere = like.new_empty(
            plan.n_everywhere, *like.shape
        )  # [slot, pair, pos, d_model]
        self._ends = like.new_empty(len(plan.slots), like.shape[0], 1, like.shape[2])
        self._at_end: set[int] = set()  # versions whose row of `_ends` is filled

    def put(
        self, versions: Sequence[int], changes: Float[Tensor, "version pair pos_or_one d_model"]
    ) -> None:
        """Keep the changes of some versions, all known everywhere or all at the end only."""
        slots = [self._slots[version] for version in versions]
        if min(slots) >= 0:
            self._everywhere[slots] = changes
        else:
            self._ends[list(versions)] = changes
            self._at_end |= set(versions)

    def sums(
        self, rows: list[Versions], *, end_only: bool
    ) -> Float[Tensor, "row pair pos_or_one d_model"]:
        """Return, for each row, the sum of the changes of its versions."""
        known = self._ends if end_only else self._everywhere
        if end_only:
            self._fill_ends({version for versions in rows for version in versions})
        slots = range(len(self._slots)) if end_only else self._slots
        # A sum over a ragged list of versions per row is what an embedding bag computes, without
        # a copy of the summands: `ids` holds all lists end to end, `starts` where each begins.
        places = [slots[version] for versions in rows for version in versions]
        ids = torch.tensor(places, dtype=torch.long, device=known.device)
        lengths = [0, *(len(versions) for versions in rows[:-1])]
        starts = torch.tensor(lengths, device=known.device).cumsum(0)
        total = torch.nn.functional.embedding_bag(ids, known.flatten(1), starts, mode="sum")
        return total.view(len(rows), *known.shape[1:])  # from [row, pair * pos * d_model]

    def _fill_ends(self, versions: set[int]) -> None:
        """Take the end position of versions that are known everywhere, where not done yet."""
        new = sorted(versions - self._at_end)
        if new:
            slots = torch.tensor([self._slots[version] for version in new])
            pairs = torch.arange(len(self._end), device=self._end.device)
            # slots[:, None] broadcasts against pairs and ends: [new, pair, d_model]
            self._ends[new, :, 0] = self._everywhere[slots[:, None], pairs, self._end]
            self._at_end |= set(new)


def run_plan(
    model: Decoder,
    plan: SparsePlan,
    pairs: PromptPairs,
    *,
    embed: Float[Tensor, "pair pos d_model"],
    ablated: Ablated,
) -> Iterator[Float[Tensor, "pair d_model"]]:
    """Yield the final residual stream at the end position, circuit by circuit.

    Args:
        model: the decoder.
        plan: of circuits of this model's graph.
        pairs: the prompts of this batch.
        embed: output of the embedding on the clean prompts.
        ablated: what edges outside a circuit carry, on the prompts of this batch.
    """
    yield from _Run(model, plan, pairs, embed, ablated).resid_ends()


class _Run:
    """The state of one run.

    `base` is the residual stream if every edge carried its ablated output; `changes` is by how
    much each computed output differs from its ablated one.
    """

    def __init__(
        self,
        model: Decoder,
        plan: SparsePlan,
        pairs: PromptPairs,
        embed: Float[Tensor, "pair pos d_model"],
        ablated: Ablated,
    ) -> None:
        self._model, self._plan, self._end = model, plan, pairs.end
        self._ablated = ablated.outputs
        self._base = start_of_stream(model, self._ablated.embed)
        self._changes = KnownChanges(plan, embed, pairs.end)
        # Version 0: every circuit may hold edges from the clean embedding.
        self._changes.put([0], (embed - self._ablated.embed)[None])

    def resid_ends(self) -> Iterator[Float[Tensor, "pair d_model"]]:
        parallel = bool(self._model.cfg.parallel_attn_mlp)
        for layer in range(self._model.cfg.n_layers):
            self._run_heads(layer)
            after = self._base + self._ablated.attn_out[:, :, layer]  # [pair, pos, d_model]
            if not parallel:  # the MLP reads what attention wrote
                self._base = after
            self._run_mlps(layer)
            self._base = after + self._ablated.mlp_out[:, :, layer]
        for versions in self._plan.logits:
            # One circuit at a time: [row 0, pair, position 0, d_model] -> [pair, d_model]
            yield self._sum([versions], end_only=True)[0, :, 0]

    def _run_heads(self, layer: int) -> None:
        stage, block = self._plan.heads[layer], self._model.blocks[layer]
        everywhere, ends = self._inputs(stage.inputs, block.ln1)
        for end_only, queries in ((False, everywhere), (True, ends)):
            nodes = stage.of(end_only=end_only)
            if not nodes:
                continue
            # Lists of views [pair, pos, d_model]: nodes with equal inputs share them uncopied.
            inputs = HeadInputs(
                heads=[node.head for node in nodes],
                query=[queries[node.rows[0]] for node in nodes],
                key=[everywhere[node.rows[1]] for node in nodes],
                value=[everywhere[node.rows[2]] for node in nodes],
            )
            z = attend(block.attn, inputs, end=self._end if end_only else None)
            self._keep_heads(layer, nodes, z, end_only=end_only)

    def _keep_heads(
        self,
        layer: int,
        nodes: dict[NodeRun, int],
        z: Float[Tensor, "node pair query d_head"],
        *,
        end_only: bool,
    ) -> None:
        known = self._known(self._ablated.z[:, :, layer], end_only=end_only)
        heads = [node.head for node in nodes]
        moved = z - known.movedim(2, 0)[heads]  # [node, pair, query, d_head]
        written = multiply_heads(moved.unbind(), self._model.blocks[layer].attn.W_O, heads)
        self._changes.put([*nodes.values()], written)

    def _run_mlps(self, layer: int) -> None:
        stage, block = self._plan.mlps[layer], self._model.blocks[layer]
        inputs = self._inputs(stage.inputs, block.ln2)
        for end_only, rows in zip((False, True), inputs, strict=True):
            known = self._known(self._ablated.mlp_out[:, :, layer], end_only=end_only)
            versions = list(stage.of(end_only=end_only).values())  # in the order of their rows
            if versions and end_only:  # few numbers: all are one batch
                self._changes.put(versions, block.mlp(rows) - known)
                continue
            for version, row in zip(versions, rows, strict=True):
                self._changes.put([version], (block.mlp(row) - known)[None])

    def _known(self, output: Float[Tensor, "pair pos ..."], *, end_only: bool) -> Tensor:
        return at_end(output, self._end)[:, None] if end_only else output

    def _inputs(self, inputs: Inputs, norm: Norm) -> list[Tensor]:
        """Return the normalised inputs [row, pair, pos or 1, d_model], everywhere and at end."""
        return [
            norm(self._sum(list(rows), end_only=end_only)) if rows else self._base[:0]
            for rows, end_only in ((inputs.everywhere, False), (inputs.at_end, True))
        ]

    def _sum(
        self, rows: list[Versions], *, end_only: bool
    ) -> Float[Tensor, "row pair pos_or_one d_model"]:
        base = self._known(self._base, end_only=end_only)
        return self._changes.sums(rows, end_only=end_only).add_(base)
