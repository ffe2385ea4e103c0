"""Completeness: circuit and model lose the same if the same nodes are taken from both.

A circuit that lacks a backup of some nodes is as faithful as one that has it. It shows once these
nodes are taken away: the model still does the task by the backup, the circuit does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import Groups, Interval, bootstrap_interval
from circuitlapse.types import N_SUBSETS


@dataclass(frozen=True, eq=False)
class Removals:
    """Metrics of circuit and model without the same nodes.

    Attributes:
        circuit, model: the other half's circuit and the whole model, without a random subset of the
            nodes of that circuit [subset, prompt].
        second_half: whether a prompt is in the second half: subsets differ between halves.
    """

    circuit: Float[ndarray, "subset prompt"]
    model: Float[ndarray, "subset prompt"]
    second_half: Bool[ndarray, " prompt"]


def removal_circuits(circuit: Circuit, *, seed: int | tuple[int, ...]) -> list[Circuit]:
    """Return a circuit without random subsets of its nodes, then the model without the same.

    A subset takes each head and MLP of the circuit with probability 1/2. All edges from and to them
    are taken away.
    """
    graph, draw = circuit.graph, np.random.default_rng(seed)
    smaller, model = [], []
    for _ in range(N_SUBSETS):
        gone = draw.random(graph.n_nodes) < 0.5
        gone &= _nodes_of(circuit)
        gone[[0, -1]] = False  # `input` and `logits` stay
        left = ~gone[:-1, None] & ~gone[graph.target_nodes]  # [source, target]
        smaller.append(Circuit(graph, circuit.mask & left))
        model.append(Circuit(graph, graph.exists & left))
    return [*smaller, *model]


def _nodes_of(circuit: Circuit) -> Bool[ndarray, " node"]:
    touched = np.append(circuit.mask.any(axis=1), True)  # sources, then logits
    np.logical_or.at(touched, circuit.graph.target_nodes, circuit.mask.any(axis=0))
    return touched


def incompleteness(
    removals: Removals,
    m_model: Float[ndarray, " prompt"],
    m_corrupted: Float[ndarray, " prompt"],
    *,
    bootstrap: Bootstrap,
    groups: Groups,
) -> tuple[float, Interval, float]:
    """Return the incompleteness of a circuit, its interval, and that of a circuit without edges.

    It is the mean over subsets K of |m(circuit without K) - m(model without K)|, of mean metrics,
    over what corruption takes away. The absolute value makes it too large by noise.

    Args:
        removals: metrics without the same nodes.
        m_model: of the whole model.
        m_corrupted: of the model on corrupted prompts.
        bootstrap: for the interval, which keeps the subsets.
        groups: of the prompts.

    Source: Wang et al. 2023 (arXiv 2211.00593), section 4.1.
    """
    gap = m_model - m_corrupted
    halves = (~removals.second_half, removals.second_half)

    def share(*means: Float[ndarray, " sample"]) -> Float[ndarray, " sample"]:
        *differences, under = means
        return np.asarray(np.abs(differences).sum(0) / N_SUBSETS / under)

    def parts(values: Float[ndarray, "subset prompt"]) -> Sequence[Float[ndarray, " prompt"]]:
        # A prompt adds to the mean over its own half only, weighted by the size of that half.
        return [*(one * half for one in values for half in halves), gap]

    found, empty = parts(removals.circuit - removals.model), parts(m_corrupted - removals.model)
    value, control = (
        float(share(*(part.mean()[None] for part in some))[0]) for some in (found, empty)
    )
    return value, bootstrap_interval(found, share, bootstrap, groups), control
