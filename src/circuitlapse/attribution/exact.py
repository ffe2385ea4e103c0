"""The effect of each edge alone, measured: the yardstick that the other methods estimate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import PairActivations
from circuitlapse.evaluation import evaluate_circuits
from circuitlapse.models import model_graph
from circuitlapse.prompts import PromptPairs
from circuitlapse.selection import Circuit


def exact_scores(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    activations: PairActivations,
    metric: str,
    batch_size: int | None,
) -> Float[ndarray, "source target"]:
    """Return the metric with every edge minus the metric without this one, per edge.

    Costs one pass per edge: for small models and tests.
    """
    graph = model_graph(model)
    edges = np.argwhere(graph.exists)
    circuits = [Circuit.full(graph)]
    for source, target in edges:
        mask = graph.exists.copy()
        mask[source, target] = False
        circuits.append(Circuit(graph, mask))
    values = evaluate_circuits(
        model, pairs, circuits, metric=metric, activations=activations, batch_size=batch_size
    ).mean(axis=1)
    scores = np.zeros(graph.exists.shape)
    scores[tuple(edges.T)] = values[0] - values[1:]
    return scores
