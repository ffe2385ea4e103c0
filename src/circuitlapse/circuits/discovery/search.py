"""Search a small faithful circuit on one set of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.attribution import sum_edge_scores
from circuitlapse.circuits.discovery.elimination import eliminate, parts_to_drop
from circuitlapse.circuits.evaluation import evaluate_circuits
from circuitlapse.circuits.faithfulness import OVERSHOOT, Curve, does_the_task, find_small
from circuitlapse.circuits.selection import Circuit, circuit_sizes, cut, edge_order
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import EdgeScores
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.types import Faithfulness
from circuitlapse.types.status import Status


class SmallCircuit(NamedTuple):
    """A small faithful circuit, and how it was found; see `Discovery`."""

    order: Int[ndarray, "edge 2"]
    curve: Curve
    n_requested: int | None
    circuit: Circuit
    status: Status
    m_circuit: Float[ndarray, " prompt"]
    n_eliminated: int | None


@dataclass(frozen=True, eq=False)
class Search:
    """A model, prompts, and the settings of a search.

    Attributes:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        activations: of these pairs.
        metric: `logit_diff` or `prob_diff`.
        settings: how edges are scored and a circuit is chosen.
        bootstrap: for the interval that says whether the model does the task.
        limits: how many prompts go through the model at once.
    """

    model: Decoder
    pairs: PromptPairs
    activations: PairActivations
    metric: str
    settings: Circuits
    bootstrap: Bootstrap
    limits: Limits

    def on(self, rows: Int[ndarray, " row"]) -> Search:
        """Return the same search on some of the prompts, given by their rows."""
        pairs, activations = self.pairs.take(rows), self.activations.take(rows)
        return replace(self, pairs=pairs, activations=activations)

    @cached_property
    def m_model(self) -> Float[ndarray, " prompt"]:
        """Metric of the whole model on the clean prompts."""
        return self._metrics[0]

    @cached_property
    def m_corrupted(self) -> Float[ndarray, " prompt"]:
        """The same on the corrupted prompts, scored with the clean answers."""
        return self._metrics[1]

    @cached_property
    def does_the_task(self) -> bool:
        """Whether the model does the task; otherwise there is nothing to be faithful to."""
        return does_the_task(
            self.m_model,
            self.m_corrupted,
            metric=self.metric,
            bootstrap=self.bootstrap,
            groups=self.pairs.groups,
            # Where 0 is what corrupted prompts keep, it is below any threshold.
            threshold=1.0 if self._floor is not None else self.settings.threshold,
        )

    def scores(self) -> EdgeScores:
        """Score all edges."""
        (total,) = self.sums(np.ones((1, len(self.pairs))))
        return EdgeScores(model_graph(self.model), total / len(self.pairs))

    def sums(self, sets: Float[ndarray, "set prompt"]) -> Float[ndarray, "set source target"]:
        """Score all edges, and sum the scores over sets of prompts; see `sum_edge_scores`."""
        how = {name: getattr(self.settings, name) for name in ("method", "ig_steps", "ig_rule")}
        return sum_edge_scores(self.model, self.pairs, sets, **how, **self._shared)

    def evaluate(self, circuits: Sequence[Circuit]) -> Float[ndarray, "circuit prompt"]:
        """Return the metric of every circuit."""
        return evaluate_circuits(self.model, self.pairs, circuits, **self._shared)

    def small_circuit(self, scores: EdgeScores) -> SmallCircuit:
        """Find a small faithful circuit; none if the model does not do the task."""
        graph, order = scores.graph, edge_order(scores, how=self.settings.order)
        if not self.does_the_task:
            none = np.zeros(0, dtype=int)
            curve = Curve(none, none, np.zeros((0, len(self.pairs))), self.m_model, self._floor)
            empty, absent = Circuit.empty(graph), np.full(len(self.pairs), np.nan)
            return SmallCircuit(order, curve, None, empty, Status.NO_BEHAVIOUR, absent, None)

        edges_of = circuit_sizes(scores, how=self.settings.order)  # of 1, 2, ... parts

        def curve_of(n_parts: list[int]) -> Curve:
            sizes = [int(edges_of[n - 1]) for n in n_parts]
            # Nested circuits: the sparse evaluation shares what they have in common.
            return self._curve(sizes, [cut(graph, order, size) for size in sizes])

        curve, size, status = find_small(curve_of, n_parts=len(edges_of), settings=self.settings)
        m_circuit = np.asarray(curve.metric[np.searchsorted(curve.sizes, size)])  # [prompt]
        found = SmallCircuit(
            order, curve, size, cut(graph, order, size), status, m_circuit, n_eliminated=None
        )
        wanted = self.settings.eliminate and status != Status.NOT_REACHED
        return self._eliminated(found, scores) if wanted else found

    def _eliminated(self, found: SmallCircuit, scores: EdgeScores) -> SmallCircuit:
        """Drop the edges, or the nodes, that the circuit does not need."""

        def passes(circuits: list[Circuit]) -> Bool[ndarray, " circuit"]:
            return self._curve(range(len(circuits)), circuits).passes(self.settings.threshold)

        parts = parts_to_drop(found.circuit, scores, how=self.settings.order)
        circuit = eliminate(found.circuit, parts, passes)
        curve = self._curve([0], [circuit])
        return found._replace(
            circuit=circuit,
            status=Status.OVERSHOOT if curve.faithfulness[0] > OVERSHOOT else Status.OK,
            m_circuit=curve.metric[0],
            n_eliminated=found.circuit.n_edges - circuit.n_edges,
        )

    def _curve(self, sizes: Sequence[int], circuits: list[Circuit]) -> Curve:
        n_edges = np.array([circuit.n_edges for circuit in circuits])  # after pruning
        metric = self.evaluate(circuits)
        return Curve(np.array(sizes), n_edges, metric, self.m_model, self._floor)

    @property
    def _floor(self) -> Float[ndarray, " prompt"] | None:
        """The metric at which a circuit has faithfulness 0; None for a metric of 0."""
        normalised = self.settings.faithfulness == Faithfulness.NORMALISED
        return self.m_corrupted if normalised else None

    @property
    def _shared(self) -> dict[str, Any]:
        return {"metric": self.metric, "activations": self.activations, "limits": self.limits}

    @cached_property
    def _metrics(self) -> tuple[Float[ndarray, " prompt"], Float[ndarray, " prompt"]]:
        return self.activations.metrics(self.pairs, metric=self.metric)
