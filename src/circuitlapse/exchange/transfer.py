"""Run a circuit in another checkpoint or on another task than it was found with.

That a circuit does well elsewhere means little if any circuit of its size does. Two controls say
so: random circuits of the same size, and circuits of another seed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.evaluation import evaluate_circuits
from circuitlapse.circuits.faithfulness import does_the_task, faithfulness
from circuitlapse.circuits.rankings import random_order
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit, cut
from circuitlapse.errors import ArtifactError
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import Selection, TransferControl
from circuitlapse.types.status import TransferStatus


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundCircuit:
    """The edges of a circuit and where it was found: all that is needed to run it elsewhere.

    Attributes:
        selection: how its edges were taken, see `edge_order`.
        in_circuit: [source, target]; None where the model did not do the task.
        control: what the circuit is to the models that run it.
        draw: number of a random circuit; -1 for others.
    """

    model: str
    variant: str
    task: str
    step: int
    method: str
    ig_steps: int
    selection: str
    in_circuit: Bool[ndarray, "source target"] | None
    control: TransferControl = TransferControl.OWN
    draw: int = -1

    @classmethod
    def from_record(
        cls, record: CircuitRecord, control: TransferControl = TransferControl.OWN
    ) -> FoundCircuit:
        """Keep the edges of a record; its scores and curves take much more memory."""
        names = ("model", "variant", "task", "step", "method", "ig_steps", "selection")
        edges = None if record.n_requested is None else record.in_circuit
        known = {name: getattr(record, name) for name in names}
        return cls(**known, in_circuit=edges, control=control)

    def runs_on(self, task: str, *, step: int) -> bool:
        """Return whether a model runs this circuit at a step on a task.

        A model runs its own circuits of this task, of all steps, and of other tasks, of the same
        step; random circuits of this task; and circuits of other seeds of this task and step.
        """
        same_task, same_step = self.task == task, self.step == step
        return {
            TransferControl.OWN: same_task or same_step,
            TransferControl.RANDOM: same_task,
            TransferControl.SEED: same_task and same_step,
        }[self.control]

    @property
    def n_edges(self) -> int | None:
        """Number of edges; None without a circuit."""
        return None if self.in_circuit is None else int(self.in_circuit.sum())


def refuse_other_models(found: Iterable[FoundCircuit], *, model: str, variant: str) -> None:
    """Check that all circuits, but those of other seeds, are of one model.

    Raises:
        ArtifactError: naming the first that is not.
    """
    for circuit in found:
        other_seed = circuit.control == TransferControl.SEED
        if not other_seed and (circuit.model, circuit.variant) != (model, variant):
            raise ArtifactError(
                f"circuit for {circuit.task} at step {circuit.step}: found one of "
                f"{circuit.model} ({circuit.variant}), expected one of {model} ({variant})"
            )


def random_like(
    found: Iterable[FoundCircuit], graph: Graph, *, n_draws: int, seed: int
) -> Iterator[FoundCircuit]:
    """Return random circuits of the size of each circuit; none where there is no circuit.

    They grow from the logits along random scores, as those of the fixed sizes do: edges drawn
    anywhere would hardly ever connect. Beside node circuits, they take random nodes. They have the
    size after pruning, or the next larger one that there is. The circuits of one draw are nested.

    Args:
        found: circuits of one model.
        graph: of this model.
        n_draws: number of random circuits per circuit.
        seed: of the first draw; the next ones count up.
    """
    own = [circuit for circuit in found if circuit.control == TransferControl.OWN]
    selections = {_by_chance(circuit) for circuit in own}
    for draw in range(n_draws):
        orders = {how: random_order(graph, seed=seed + draw, how=how) for how in selections}
        of_size: dict[tuple[Selection, int], Bool[ndarray, "source target"]] = {}
        for circuit in own:
            if (n := circuit.n_edges) is None:
                continue
            how = _by_chance(circuit)
            if (how, n) not in of_size:
                of_size[how, n] = _of_size(graph, orders[how], n)
            control = TransferControl.RANDOM
            yield replace(circuit, in_circuit=of_size[how, n], control=control, draw=draw)


def _by_chance(circuit: FoundCircuit) -> Selection:
    """Return how the random circuits beside a circuit take edges."""
    nodes = circuit.selection == Selection.NODES
    return Selection.NODES if nodes else Selection.GREEDY


def _of_size(
    graph: Graph, order: Int[ndarray, "edge 2"], n_edges: int
) -> Bool[ndarray, "source target"]:
    """Return the smallest circuit along an order of edges with `n_edges` left after pruning."""
    # Circuits along one order are nested, pruned or not, so that their sizes are in order.
    taken = range(n_edges, graph.n_edges)
    size = bisect_left(taken, n_edges, key=lambda n: cut(graph, order, n).n_edges)
    return cut(graph, order, n_edges + size).mask


def transfer(
    model: Model,
    pairs: PromptPairs,
    found: Sequence[FoundCircuit],
    *,
    metric: str,
    bootstrap: Bootstrap,
    activations: PairActivations,
    limits: Limits = AUTOMATIC,
) -> list[dict[str, Any]]:
    """Run circuits in a model, all at once; one row of measurements for each.

    If the model does not do the task, the metrics are as measured and faithfulness is NaN: a ratio
    of two numbers at chance level says nothing.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: the prompts.
        found: circuits of this model's graph, of any step, task and control.
        metric: `logit_diff` or `prob_diff`.
        bootstrap: for the interval that says whether the model does the task.
        activations: of these pairs.
        limits: how many prompts go through the model at once.

    Raises:
        ValueError: if a circuit belongs to another graph, or `activations` to other prompts.
    """
    model = as_decoder(model)
    how = {"metric": metric, "activations": activations, "limits": limits}
    m_circuits = _run(model, pairs, found, **how)
    m_model, m_corrupted = activations.metrics(pairs, metric=metric)
    able = does_the_task(
        m_model, m_corrupted, metric=metric, bootstrap=bootstrap, groups=pairs.groups
    )
    shared = {"m_model": m_model.mean(), "m_corrupted": m_corrupted.mean()}
    f_raw, f_norm = faithfulness(m_circuits if able else np.full_like(m_circuits, np.nan), **shared)
    return [
        {
            "control": str(circuit.control),
            "circuit_model": circuit.model,
            "circuit_variant": circuit.variant,
            "circuit_task": circuit.task,
            "circuit_step": circuit.step,
            "draw": circuit.draw,
            "method": circuit.method,
            "ig_steps": circuit.ig_steps,
            "n_edges": circuit.n_edges,
            **shared,
            "m_circuit": m_circuits[index],
            "f_raw": f_raw[index],
            "f_norm": f_norm[index],
            "n": pairs.n_groups,
            "status": str(_status(circuit, able)),
        }
        for index, circuit in enumerate(found)
    ]


def _run(
    model: Decoder,
    pairs: PromptPairs,
    found: Sequence[FoundCircuit],
    **how: Any,
) -> Float[ndarray, " circuit"]:
    """Return the mean metric of each circuit; NaN where there is none."""
    graph, values = model_graph(model), np.full(len(found), np.nan)
    circuits = {
        index: Circuit(graph, circuit.in_circuit)
        for index, circuit in enumerate(found)
        if circuit.in_circuit is not None
    }
    # All circuits in one call, which shares what they have in common; [circuit, pair] -> [circuit]
    values[list(circuits)] = evaluate_circuits(model, pairs, [*circuits.values()], **how).mean(1)
    return values


def _status(circuit: FoundCircuit, able: bool) -> TransferStatus:
    if circuit.in_circuit is None:
        return TransferStatus.NO_CIRCUIT
    return TransferStatus.OK if able else TransferStatus.NO_BEHAVIOUR
