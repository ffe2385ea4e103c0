"""What has to be computed to run circuits, and what they share.

Edges outside a circuit carry a known, ablated output. Relative to a run in which every edge
does, only what differs has to be computed: a node whose inputs all carry ablated outputs
writes its ablated output itself. A node that only the logits or other end positions read is
needed at the end position alone. Two circuits in which a node receives the same share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from circuitlapse.graph import PORTS, Graph
from circuitlapse.selection import Circuit

NOT, AT_END, EVERYWHERE = 0, 1, 2
"""Where the output of a node is needed."""

Versions = tuple[int, ...]
"""Computed outputs (see `Plan`) whose difference from the ablated ones an input adds up."""


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
        return rows.setdefault(versions, len(rows))


@dataclass(frozen=True)
class Job:
    """One node to compute: the head (0 for an MLP), its input rows, and where it is needed.

    `rows` are those of query, key and value, or the one of an MLP. With `end_only` the query
    and the MLP's input are rows of `Inputs.at_end`; keys and values are always everywhere.
    """

    head: int
    rows: tuple[int, ...]
    end_only: bool


@dataclass
class Stage:
    """All heads, or all MLPs, of one layer in all circuits; `jobs` maps a job to its version."""

    inputs: Inputs = field(default_factory=Inputs)
    jobs: dict[Job, int] = field(default_factory=dict)

    def of(self, *, end_only: bool) -> dict[Job, int]:
        """Return the jobs that are needed at the end only, or those needed everywhere."""
        return {job: at for job, at in self.jobs.items() if job.end_only == end_only}


@dataclass
class Plan:
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
        return max(len(s.inputs.everywhere) + len(s.jobs) for s in (*self.heads, *self.mlps))


def make_plan(graph: Graph, circuits: Sequence[Circuit], *, ablated_is_a_run: bool) -> Plan:
    """Plan the evaluation of circuits of one graph.

    Args:
        graph: of all circuits.
        circuits: any number, nested or not.
        ablated_is_a_run: see `circuitlapse.ablation.Ablated`.
    """
    layers = range(graph.n_layers)
    plan = Plan([Stage() for _ in layers], [Stage() for _ in layers])
    for circuit in circuits:
        _Planner(plan, circuit, skip_ablated=ablated_is_a_run).add()
    return plan


def where_needed(circuit: Circuit) -> Int[ndarray, " source"]:
    """Return for every source where its output is needed: nowhere, at the end, everywhere."""
    graph, n_sources = circuit.graph, len(circuit.graph.sources)
    at_target = np.zeros(len(graph.targets), dtype=np.int8)
    at_target[-1] = AT_END
    needs = np.zeros(n_sources, dtype=np.int8)
    for source in reversed(range(n_sources)):
        needs[source] = (at_target * circuit.mask[source]).max()
        for target in np.flatnonzero(graph.target_nodes == source):
            reads_back = graph.targets[target].endswith(("<k>", "<v>"))
            at_target[target] = EVERYWHERE if reads_back and needs[source] else needs[source]
    return needs


class _Planner:
    """Adds one circuit to a plan."""

    def __init__(self, plan: Plan, circuit: Circuit, *, skip_ablated: bool) -> None:
        self._plan = plan
        self._graph = circuit.graph
        self._skip_ablated = skip_ablated
        self._needs = where_needed(circuit)
        self._version = np.full(len(circuit.graph.sources), -1)
        self._version[0] = 0
        self._sources = [np.flatnonzero(column) for column in circuit.mask.T]

    def add(self) -> None:
        graph = self._graph
        for layer in range(graph.n_layers):
            first = graph.head_sources(layer).start
            for head in range(graph.n_heads):
                targets = [graph.port_targets(layer, port).start + head for port in PORTS]
                self._add_node(self._plan.heads[layer], first + head, head, targets)
            mlp = graph.mlp_source(layer)
            self._add_node(self._plan.mlps[layer], mlp, 0, [graph.mlp_target(layer)])
        self._plan.logits.append(self._versions(len(graph.targets) - 1))

    def _versions(self, target: int) -> Versions:
        known = self._version[self._sources[target]]
        return tuple(known[known >= 0].tolist())

    def _add_node(self, stage: Stage, source: int, head: int, targets: list[int]) -> None:
        if self._needs[source] == NOT:
            return
        received = [self._versions(target) for target in targets]
        if self._skip_ablated and not any(received):
            return
        end_only = bool(self._needs[source] == AT_END)
        rows = tuple(
            stage.inputs.row(versions, end_only=end_only and index == 0)
            for index, versions in enumerate(received)
        )
        self._version[source] = self._number(stage, Job(head, rows, end_only))

    def _number(self, stage: Stage, job: Job) -> int:
        plan = self._plan
        if job not in stage.jobs:
            stage.jobs[job] = len(plan.slots)
            plan.slots.append(-1 if job.end_only else plan.n_everywhere)
            plan.n_everywhere += not job.end_only
        return stage.jobs[job]
