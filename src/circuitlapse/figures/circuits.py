"""How large and how faithful the circuit of each task is, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import style
from circuitlapse.types import Status

_STRIP_IN = 0.14
"""Height of a model's row in the strip of steps without behaviour."""

_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
}
_TICK: dict[str, Any] = {"marker": "|", "markersize": 5, "linestyle": "none"}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}


class Column(NamedTuple):
    """The panels of one task."""

    size: Axes
    faithfulness: Axes
    absence: Axes


def circuits_figure(
    summary: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
    min_step: int = 1,
) -> Figure:
    """Draw size and faithfulness of the circuits against training tokens, a column per task.

    Steps at which a model lacks the behaviour have no circuit: its line breaks there, and a
    strip below shows when that was. Hollow markers did not reach the threshold, ringed ones
    overshoot the model.

    Args:
        summary: the table `circuit_summary`, of one attribution method.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one column each, in this order.
        threshold: the faithfulness that a circuit had to reach.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.

    Raises:
        ArtifactError: if the table holds more than one method.
    """
    rows = style.drawable(style.of_one_method(summary), min_step=min_step)
    rows = rows[rows["model"].isin(labels) & rows["task"].isin(tasks)]
    looks = style.looks(labels)
    with style.in_style():
        figure, columns = _panels(tasks, n_models=len(labels))
        for task, column in columns.items():
            of_task = rows[rows["task"] == task]
            _draw_size(column.size, of_task, looks=looks)
            _draw_faithfulness(column.faithfulness, of_task, looks=looks, threshold=threshold)
            _draw_absence(column.absence, of_task, looks=looks)
        _finish(columns[tasks[0]], rows, looks=looks)
        models = style.model_handles(looks.values())
        marks = _mark_handles(threshold)
        style.legend_below(figure, style.in_columns(models, marks, n_rows=3), n_rows=3)
    return figure


def _panels(tasks: Sequence[str], *, n_models: int) -> tuple[Figure, dict[str, Column]]:
    heights = [1.45, 1.45, _STRIP_IN * (n_models + 0.2)]
    figure = Figure(figsize=(style.WIDTH_IN, sum(heights) + 1.4), layout="constrained")
    grid = figure.subplots(
        3, len(tasks), squeeze=False, sharex=True, sharey="row", height_ratios=heights
    )
    columns = {task: Column(*grid[:, index]) for index, task in enumerate(tasks)}
    for task, column in columns.items():
        column.size.set_title(_fit(style.task_title(task), tasks))
        column.absence.set_xlabel(_fit(style.TOKENS, tasks))
        column.size.set_yscale("log")
        column.absence.set_xscale("log")
        column.absence.tick_params(axis="y", length=0)
    return figure, columns


def _draw_size(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    if rows["edge_fraction"].isna().all():
        return style.say(axes, _why_empty(rows))
    for model, look in looks.items():
        line = rows[rows["model"] == model].sort_values("tokens")
        _draw_line(axes, line, 100 * line["edge_fraction"], look=look)
    return None


def _draw_faithfulness(
    axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look], threshold: float
) -> None:
    axes.axhline(threshold, color=style.GREY, linestyle="--", linewidth=0.8, zorder=1)
    if rows["f_raw"].isna().all():
        return style.say(axes, _why_empty(rows))
    for model, look in looks.items():
        line = rows[rows["model"] == model].sort_values("tokens")
        style.draw_band(axes, line, ("f_raw_low", "f_raw_high"), look=look)
        _draw_line(axes, line, line["f_raw"], look=look)
    return style.say_n(axes, rows)


def _draw_absence(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    absent = rows[rows["status"] == Status.NO_BEHAVIOUR]
    for row, (model, look) in enumerate(looks.items()):
        tokens = absent.loc[absent["model"] == model, "tokens"]
        axes.plot(tokens, np.full(len(tokens), row), color=look.colour, label=look.label, **_TICK)


def _draw_line(
    axes: Axes, line: pd.DataFrame, values: pd.Series[float], *, look: style.Look
) -> None:
    """Draw one model's line, broken where there is no circuit, and a marker by each status."""
    axes.plot(line["tokens"], values, color=look.colour, label=look.label)
    own: dict[str, Any] = {"marker": look.marker, "color": look.colour}
    for status, kinds in {
        Status.OK: [own],
        Status.NOT_REACHED: [own | _HOLLOW],
        Status.OVERSHOOT: [own, _RING],
    }.items():
        here = line["status"] == status
        for kind in kinds:
            axes.plot(line["tokens"][here], values[here], linestyle="none", **kind)


def _finish(first: Column, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    """Label the leftmost panels, whose y axes the others share."""
    first.size.set_ylabel("Circuit size\n(% of edges)")
    style.label_log(first.size.yaxis)
    first.faithfulness.set_ylabel("Faithfulness\n(circuit / model)")
    # the points set the range, for an interval can be very wide where the metric is small
    points = rows["f_raw"].dropna()
    first.faithfulness.set_ylim(min(0.0, 1.1 * points.min()) if len(points) else 0.0, None)
    first.faithfulness.set_ylim(None, max(1.3, 1.2 * points.max()) if len(points) else 1.3)
    first.absence.set_yticks(range(len(looks)), [look.label for look in looks.values()])
    first.absence.set_ylim(len(looks) - 0.4, -0.6)
    style.label_log(first.absence.xaxis)


def _mark_handles(threshold: float) -> list[Artist]:
    grey: dict[str, Any] = {"color": style.GREY, "linestyle": "none"}
    return [
        Line2D([], [], marker="o", label="faithful circuit", **grey),
        Line2D([], [], marker="o", label="threshold not reached", **grey, **_HOLLOW),
        Line2D([], [], label="overshoots the model", **_RING, linestyle="none"),
        Line2D([], [], label="no behaviour, no circuit", color=style.GREY, **_TICK),
        Line2D([], [], color=style.GREY, linestyle="--", label=f"threshold ({threshold:g})"),
        style.band_handle(),
    ]


def _fit(text: str, tasks: Sequence[str]) -> str:
    """Break `text` into lines that fit into one of as many columns as there are tasks."""
    return fill(text, 88 // len(tasks), break_on_hyphens=False)


def _why_empty(rows: pd.DataFrame) -> str:
    return "not analysed" if rows.empty else "no circuits:\nno behaviour yet"
