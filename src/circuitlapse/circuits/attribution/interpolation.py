"""Edge attribution patching and its integrated-gradients forms (arXiv 2310.10348, 2403.17806).

The score of edge u -> v is the mean over prompts of the sum, over positions and channels,
of (ablated - clean output of u) times the gradient of the loss at v's input. The methods
differ in the runs at which that gradient is taken and averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.circuits.attribution.gradients import (
    GradientSum,
    Objective,
    edge_sums,
    source_changes,
)
from circuitlapse.models.activations import Outputs
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import model_graph


class Point(NamedTuple):
    """A run between the two ends of a line, and how much its gradients count."""

    fraction: float
    """0 at the ablated end, 1 at the clean end."""
    weight: float = 1.0
    """Only ratios of weights matter: gradients are averaged."""


@dataclass(frozen=True, eq=False)
class Line:
    """Both ends of every interpolation, and the loss that is differentiated along it.

    Attributes:
        clean, ablated: the two ends, for every source.
        objective: of the same pairs.
        sets: how often each pair counts in each set of pairs that scores are summed over, in
            float64.
    """

    clean: Outputs
    ablated: Outputs
    objective: Objective
    sets: Float[Tensor, "set pair"]

    def batch(self, start: int, stop: int) -> Line:
        """Return the pairs from `start` up to, not including, `stop`."""
        ends = start, stop
        outputs = (self.clean.batch(*ends), self.ablated.batch(*ends))
        return Line(*outputs, self.objective.batch(*ends), self.sets[:, start:stop])


def input_scores(
    model: Decoder, line: Line, *, points: Sequence[Point], runs_at_once: int
) -> Float[Tensor, "set source target"]:
    """Return scores summed over sets of prompts, gradients averaged along the embeddings' line."""
    gradients = input_gradients(model, line, points=points, runs_at_once=runs_at_once)
    # The change of a source is the same for every point, so that gradients are summed first.
    changes, end = source_changes(model, line.clean, line.ablated), line.objective.pairs.end
    sums = edge_sums(model_graph(model), changes, gradients, end, line.sets)
    return sums / total_weight(points)


def input_gradients(
    model: Decoder,
    line: Line,
    *,
    points: Sequence[Point],
    runs_at_once: int,
    with_attention: bool = False,
) -> GradientSum:
    """Return the weighted sum of gradients over points of the embeddings' line."""
    gradients = GradientSum(model, line.objective, with_attention=with_attention)
    for part in _chunks(points, runs_at_once):
        embeds = _between(line.ablated.embed, line.clean.embed, part)
        gradients.add(embeds, weights=_weights(part))
    return gradients


def activation_scores(
    model: Decoder,
    line: Line,
    *,
    points: Sequence[Point],
    runs_at_once: int,
    pooled: bool,
) -> Float[Tensor, "set source target"]:
    """Return scores summed over sets of prompts, interpolating the output of one group at a time.

    A group is the embedding, all heads of a layer, or an MLP; all else of a run is clean.

    Args:
        model: the decoder.
        line: the two ends.
        points: of each group's line.
        runs_at_once: points in one pass.
        pooled: average the gradients over the runs of all groups for every edge, as the
            reference implementation does, instead of over those of the edge's own source.
    """
    graph, end = model_graph(model), line.objective.pairs.end
    changes = source_changes(model, line.clean, line.ablated)
    scores = torch.zeros(len(line.sets), *graph.exists.shape, dtype=torch.float64)
    groups = list(_groups(graph))
    for group in groups:
        gradients = GradientSum(model, line.objective)
        for part in _chunks(points, runs_at_once):
            _add_group(gradients, line, group, points=part)
        # Not pooled: a run of this group says something of the edges from this group only.
        rows = slice(None) if pooled else group.rows
        scores += edge_sums(graph, changes, gradients, end, line.sets, rows=rows)
    # Pooled, every edge has gradients of the runs of all groups.
    return scores / (total_weight(points) * (len(groups) if pooled else 1))


class _Group(NamedTuple):
    """Sources that are interpolated together: where their output is found, and their rows."""

    layer: int
    kind: str
    rows: slice


def _groups(graph: Graph) -> Iterator[_Group]:
    yield _Group(0, "embed", slice(0, 1))
    for layer in range(graph.n_layers):
        mlp = graph.mlp_source(layer)
        yield _Group(layer, "z", graph.head_sources(layer))
        yield _Group(layer, "mlp_out", slice(mlp, mlp + 1))


def _add_group(
    gradients: GradientSum, line: Line, group: _Group, *, points: Sequence[Point]
) -> None:
    ablated, clean = (getattr(run, group.kind) for run in (line.ablated, line.clean))
    if group.kind == "embed":
        gradients.add(_between(ablated, clean, points), weights=_weights(points))
        return
    # [run, pair, pos, ...]: z [.., head, d_head] or the output of an MLP [.., d_model]
    replaced = _between(ablated[:, :, group.layer], clean[:, :, group.layer], points)

    def edit(layer: int, kind: str, computed: Tensor) -> Tensor:
        # Runs and pairs are one axis in a pass: [run * pair, pos, ...].
        return replaced.flatten(0, 1) if (layer, kind) == (group.layer, group.kind) else computed

    embed = line.clean.embed  # [pair, pos, d_model], the same in every run
    runs = embed.expand(len(points), *embed.shape)
    gradients.add(runs, weights=_weights(points), edit=edit)


def _between(
    ablated: Float[Tensor, "pair ..."],
    clean: Float[Tensor, "pair ..."],
    points: Sequence[Point],
) -> Float[Tensor, "run pair ..."]:
    """Return what lies at the given points of the line from ablated to clean."""
    return torch.stack([torch.lerp(ablated, clean, point.fraction) for point in points])


def total_weight(points: Sequence[Point]) -> float:
    """Return by what a weighted sum over points is divided for their mean."""
    return sum(_weights(points))


def _weights(points: Sequence[Point]) -> list[float]:
    return [point.weight for point in points]


def _chunks(points: Sequence[Point], size: int) -> Iterator[Sequence[Point]]:
    for start in range(0, len(points), size):
        yield points[start : start + size]
