"""Faithfulness: how much of the task a circuit does, and a small circuit that does enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import Groups, bootstrap_interval, mean_interval
from circuitlapse.types import CHANCE, Metric
from circuitlapse.types.status import Status

OVERSHOOT = 1.2
"""A circuit that does the task this much better than the model is flagged."""
SAME_METRIC = 1e-6
"""Clean and corrupted metric closer than this (in the metric's unit) leave F_norm undefined."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The metric of nested circuits, by size.

    Attributes:
        sizes: requested edges [size], ascending.
        n_edges: edges left after pruning [size].
        metric: [size, prompt].
        m_model: metric of the whole model [prompt].
        floor: metric that counts as faithfulness 0 [prompt]; None for 0 itself.
    """

    sizes: Int[ndarray, " size"]
    n_edges: Int[ndarray, " size"]
    metric: Float[ndarray, "size prompt"]
    m_model: Float[ndarray, " prompt"]
    floor: Float[ndarray, " prompt"] | None = None

    @property
    def faithfulness(self) -> Float[ndarray, " size"]:
        """Metric of the circuit over metric of the model, both above the floor, of mean metrics."""
        zero = 0.0 if self.floor is None else self.floor.mean()
        return np.asarray((self.metric.mean(axis=1) - zero) / (self.m_model.mean() - zero))

    def passes(self, threshold: float) -> Bool[ndarray, " size"]:
        """Return which circuits are faithful; one without edges never is."""
        return np.asarray((self.faithfulness >= threshold) & (self.n_edges > 0))

    def merged(self, other: Curve) -> Curve:
        """Return the curve with the sizes of both."""
        order = np.argsort(np.concatenate([self.sizes, other.sizes]), kind="stable")
        sizes, n_edges, metric = (
            np.concatenate([getattr(self, name), getattr(other, name)])[order]
            for name in ("sizes", "n_edges", "metric")
        )
        return Curve(sizes, n_edges, metric, self.m_model, self.floor)


def does_the_task(
    m_model: Float[ndarray, " prompt"],
    m_corrupted: Float[ndarray, " prompt"],
    *,
    metric: str,
    bootstrap: Bootstrap,
    groups: Groups = None,
    threshold: float = 1.0,
) -> bool:
    """Return whether the model does the task, and does it with what corruption takes away.

    All of these must hold:

    - the mean metric is above chance, and its interval excludes 0;
    - the same holds for what the metric loses on the corrupted prompts: a model that always
      prefers large numbers scores well on Greater-Than whatever the prompt says, so that no edge
      matters there;
    - the corrupted prompts keep less than `threshold` of the metric.

    Args:
        m_model: on the clean prompts.
        m_corrupted: on the corrupted ones, with the clean answers.
        metric: `logit_diff` or `prob_diff`.
        bootstrap: of the intervals.
        groups: of the prompts.
        threshold: share of the metric that corrupted prompts must not keep. At the F_raw that
            makes a circuit faithful, one without edges would already reach it.
    """
    if m_corrupted.mean() >= threshold * m_model.mean():
        return False
    gains = (m_model, m_model - m_corrupted)
    chance = CHANCE[Metric(metric)]
    return all(
        gain.mean() > chance and mean_interval(gain, bootstrap, groups)[0] > 0 for gain in gains
    )


def faithfulness(
    m_circuit: Float[ndarray, " circuit"], *, m_model: float, m_corrupted: float
) -> tuple[Float[ndarray, " circuit"], Float[ndarray, " circuit"]]:
    """Return F_raw and F_norm of circuits; NaN where the denominator vanishes.

    F_raw is metric(circuit) / metric(model) (arXiv 2407.10827); F_norm is (circuit - corrupted) /
    (model - corrupted) (arXiv 2403.17806). All are means over prompts.
    """
    gap = m_model - m_corrupted  # what corruption takes away
    f_norm = (m_circuit - m_corrupted) / (gap if abs(gap) > SAME_METRIC else np.nan)
    return m_circuit / (m_model or np.nan), f_norm


def largest_size(n_parts: int, settings: Circuits) -> int:
    """Return the cap of the search: a share of all edges (or nodes), and at least `min_cap`.

    With a share alone, circuits of small models would be cut off at smaller sizes, so that sizes
    grow with scale by definition.
    """
    share = max(1, round(settings.max_fraction * n_parts))
    return max(share, min(settings.min_cap, n_parts))


def grid_sizes(cap: int, *, ratio: float) -> list[int]:
    """Return about geometric sizes 1, 2, 3, 5, ... up to the cap, the cap included."""
    sizes = [1]
    while sizes[-1] < cap:
        sizes.append(min(cap, max(sizes[-1] + 1, round(sizes[-1] * ratio))))
    return sizes


def find_small(
    evaluate: Callable[[list[int]], Curve], *, n_parts: int, settings: Circuits
) -> tuple[Curve, int, Status]:
    """Return the whole curve, the size of a small faithful circuit, and a status.

    Faithfulness is not monotone in size, so a size only counts when the next larger size
    tried passes too. The grid finds the interval; sizes evenly spaced inside it refine it. The
    first size tried that counts is taken. Other sets of edges may be smaller and faithful too.

    Args:
        evaluate: runs circuits of so many parts, edges or nodes, on a model whose mean metric is
            positive. The sizes of the curve are in edges.
        n_parts: of the whole model.
        settings: threshold and sizes.
    """
    sizes = grid_sizes(largest_size(n_parts, settings), ratio=settings.grid_ratio)
    curve = evaluate(sizes)
    lasting = _lasting(curve.passes(settings.threshold))
    if not lasting.any():
        return curve, int(curve.sizes[-1]), Status.NOT_REACHED
    first = int(np.argmax(lasting))  # the first True
    below = sizes[first - 1] if first else 0
    inside = _between(below, sizes[first], settings.refine_points)
    if inside:
        curve = curve.merged(evaluate(inside))
    best = int(np.argmax(_lasting(curve.passes(settings.threshold))))
    overshoots = curve.faithfulness[best] > OVERSHOOT
    return curve, int(curve.sizes[best]), Status.OVERSHOOT if overshoots else Status.OK


def size_interval(
    curve: Curve, *, threshold: float, bootstrap: Bootstrap, groups: Groups = None
) -> tuple[float, float]:
    """Return the interval of the number of edges of the circuit found, groups resampled.

    The circuits stay the same; every resample decides anew which is the first size tried that is
    faithful. If none is, or if the mean metric of the model is not above the floor, the largest
    size counts.
    """

    def n_edges(*means: Float[ndarray, " sample"]) -> Float[ndarray, " sample"]:
        *metric, m_model, floor = means  # one per size, the model, and what counts as 0
        span = m_model - floor
        faithful = (np.stack(metric) - floor >= threshold * span) & (span > 0)  # [size, sample]
        lasting = _lasting(faithful & (curve.n_edges > 0)[:, None])
        first = np.where(lasting.any(0), lasting.argmax(0), len(lasting) - 1)  # index of a size
        return curve.n_edges[first].astype(float)

    floor = np.zeros(len(curve.m_model)) if curve.floor is None else curve.floor
    return bootstrap_interval((*curve.metric, curve.m_model, floor), n_edges, bootstrap, groups)


def _lasting(passes: Bool[ndarray, "size ..."]) -> Bool[ndarray, "size ..."]:
    """Return which sizes pass together with the next one; the largest needs none."""
    following = np.concatenate([passes[1:], np.ones_like(passes[:1])])  # nothing follows the last
    return np.asarray(passes & following)


def _between(low: int, high: int, n_points: int) -> list[int]:
    inner = np.linspace(low, high, n_points + 2)[1:-1].round().astype(int)  # without both ends
    return sorted({int(size) for size in inner} - {low, high})
