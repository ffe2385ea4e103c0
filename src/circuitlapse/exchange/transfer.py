"""Run a circuit in another checkpoint or on another task than it was found with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.circuits.evaluation import evaluate_circuits
from circuitlapse.circuits.faithfulness import does_the_task, faithfulness
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit
from circuitlapse.errors import ArtifactError
from circuitlapse.models.activations import PairActivations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import TransferStatus


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundCircuit:
    """The edges of a circuit and where it was found: all that is needed to run it elsewhere.

    Attributes:
        in_circuit: [source, target]; None where the model did not do the task.
    """

    model: str
    variant: str
    task: str
    step: int
    method: str
    ig_steps: int
    in_circuit: Bool[ndarray, "source target"] | None

    @classmethod
    def from_record(cls, record: CircuitRecord) -> FoundCircuit:
        """Keep the edges of a record; its scores and curves take much more memory."""
        names = ("model", "variant", "task", "step", "method", "ig_steps")
        edges = None if record.n_requested is None else record.in_circuit
        return cls(**{name: getattr(record, name) for name in names}, in_circuit=edges)

    @property
    def n_edges(self) -> int | None:
        """Number of edges; None without a circuit."""
        return None if self.in_circuit is None else int(self.in_circuit.sum())


def refuse_other_models(found: Iterable[FoundCircuit], *, model: str, variant: str) -> None:
    """Check that all circuits are of one model.

    Raises:
        ArtifactError: naming the first that is not.
    """
    for circuit in found:
        if (circuit.model, circuit.variant) != (model, variant):
            raise ArtifactError(
                f"circuit for {circuit.task} at step {circuit.step}: found one of "
                f"{circuit.model} ({circuit.variant}), expected one of {model} ({variant})"
            )


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
        found: circuits of this model's graph, of any step and task.
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
            "circuit_task": circuit.task,
            "circuit_step": circuit.step,
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
