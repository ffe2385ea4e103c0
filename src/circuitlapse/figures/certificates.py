"""How many circuits of each model pass which test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import layout, style
from circuitlapse.types import SIGNIFICANCE
from circuitlapse.types.status import CertificateStatus

_ROW_IN = 0.42
_APART = 0.7
"""Share of the height of a row over which the marks of models are spread."""


def needs_edges(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return which circuits need all edges that were tested."""
    return summary["q_minimality"] <= SIGNIFICANCE


def knows_the_answer(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return of which circuits the complement knows the answer."""
    return summary["q_independence"] <= SIGNIFICANCE


def _passed(test: Callable[[pd.DataFrame], pd.Series[bool]]) -> Callable[[pd.DataFrame], float]:
    return lambda rows: 100 * float(test(rows).mean())


def _edges_needed(rows: pd.DataFrame) -> float:
    return 100 * float(rows["edges_needed"].sum() / (rows["edges_tested"].sum() or float("nan")))


PANELS: Mapping[str, Callable[[pd.DataFrame], float]] = {
    "Not told apart\nfrom the model": _passed(lambda rows: rows["q_equivalence"] > SIGNIFICANCE),
    "The rest does not\nknow the answer": _passed(lambda rows: ~knows_the_answer(rows)),
    "All edges tested\nare needed": _passed(needs_edges),
    "Edges needed": _edges_needed,
}
"""Title of a panel -> percentage of the circuits of a model, or of their edges."""


def certificates_figure(
    circuit_summary: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
) -> Figure:
    """Draw the share of circuits over training that pass each test, a row per task.

    Args:
        circuit_summary: the table `circuit_summary`, of one attribution method.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a row.
        min_step: first step that counts.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    rows = style.of_models(circuit_summary, labels=labels, tasks=tasks)
    rows = rows[rows["certificate_status"] == CertificateStatus.OK]
    rows, looks = style.drawable(rows, min_step=min_step), style.looks(labels)
    with style.in_style():
        height = _ROW_IN * max(2, len(tasks)) + 1.2
        figure = Figure(figsize=(style.WIDTH_IN, height), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
        for axes, (title, share) in zip(panels, PANELS.items(), strict=True):
            axes.set_title(title)
            axes.set_xlabel(f"% of {'edges' if share is _edges_needed else 'circuits'}")
            _draw(axes, rows, tasks=tasks, looks=looks, share=share)
        if rows.empty:
            layout.say(panels[0], "no circuit was tested")
        layout.legend_below(figure, layout.model_handles(looks.values()))
        return figure


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    tasks: Sequence[str],
    looks: Mapping[str, style.Look],
    share: Callable[[pd.DataFrame], float],
) -> None:
    axes.set_yticks(range(len(tasks)), labels=[style.task_short(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(-6, 106)
    axes.set_xticks([0, 50, 100])
    axes.tick_params(axis="y", length=0)
    for border in range(1, len(tasks)):
        axes.axhline(border - 0.5, color=style.GREY, linewidth=0.3)
    for place, (model, look) in enumerate(looks.items()):
        shift = ((place + 0.5) / len(looks) - 0.5) * _APART
        own = {task: rows[(rows["model"] == model) & (rows["task"] == task)] for task in tasks}
        found = {row: share(own[task]) for row, task in enumerate(tasks) if len(own[task])}
        mark: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
        axes.plot([*found.values()], [row + shift for row in found], markersize=4, **mark)
