"""How large and how faithful the circuit of each task is, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from circuitlapse.figures import layout, style
from circuitlapse.figures.certificates import knows_the_answer, needs_edges
from circuitlapse.figures.checkpoints import mark_suspects, suspect_handles
from circuitlapse.figures.layout import (
    ABSENT,
    draw_threshold,
    draw_with_status,
    no_circuits,
    status_handles,
    task_columns,
    threshold_handles,
)
from circuitlapse.figures.style import SIZE, label_log, shorten
from circuitlapse.types.status import LEFT_OUT, CertificateStatus, CheckpointStatus, Status

_STRIP_IN = 0.14
"""Height of a model's row in the strip of steps without behaviour."""
_STRIP_LABEL_PT = 72.0
"""Width of the names of models beside it; the legend has the full names."""


_UNDERLINE: dict[str, Any] = {"marker": "_", "markersize": 4, "linestyle": "none"}
_NEEDLESS, _REST_KNOWS = "_needless", "_rest_knows"
"""Labels of the lines below circuits that fail a test."""


class Column(NamedTuple):
    """The panels of one task."""

    size: Axes
    faithfulness: Axes
    no_behaviour: Axes


def circuits_figure(
    circuit_summary: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
    min_step: int,
) -> Figure:
    """Draw size and faithfulness of the circuits against training tokens, a column per task.

    Where a model does not do the task there is no circuit: its line breaks, and a strip below
    marks the step. Circuits with hollow markers did not reach the threshold, those with rings
    overshoot the model, and crosses are suspect checkpoints. A cross in the strip is a step that
    was left out, because it has the weights of another one. Shaded areas are bootstrap intervals;
    an isolated circuit has a bar. A line below a size says that not all edges were shown to be
    needed, one below a faithfulness that the rest of the model knows the answer. Faithfulness is
    held-out where prompts were halved.

    Args:
        circuit_summary: the table `circuit_summary`, of one attribution method.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a column.
        threshold: faithfulness that a circuit has to reach.
        min_step: first step to draw; the logarithmic axis never shows step 0.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    analysed = style.of_models(circuit_summary, labels=labels, tasks=tasks)
    analysed = style.with_held_out(analysed)
    threshold = style.raw_threshold(analysed, threshold)
    rows = style.drawable(analysed, min_step=min_step)
    looks = style.looks(labels)
    with style.in_style():
        figure, columns = _panels(tasks, n_models=len(labels))
        for task, column in columns.items():
            of_task = rows[rows["task"] == task]
            _draw_faithfulness(column.faithfulness, of_task, looks=looks, threshold=threshold)
            _draw_no_behaviour(column.no_behaviour, of_task, looks=looks)
            if of_task["f_raw"].notna().any():
                _draw_size(column.size, of_task, looks=looks)
            else:
                reason = no_circuits(analysed[analysed["task"] == task], min_step=min_step)
                for axes in (column.size, column.faithfulness):
                    layout.say(axes, reason)
        _finish(columns[tasks[0]], rows, looks=looks)
        models = layout.model_handles(looks.values())
        marks = [*status_handles(set(rows["status"])), *threshold_handles(threshold)]
        marks += [*layout.interval_handles(figure), *suspect_handles(figure)]
        marks += _certificate_handles(figure)
        return layout.finish(figure, columns[tasks[0]].no_behaviour, models, marks, n_rows=3)


def _panels(tasks: Sequence[str], *, n_models: int) -> tuple[Figure, dict[str, Column]]:
    heights = [1.45, 1.45, _STRIP_IN * (n_models + 0.2)]
    figure, grid = task_columns(tasks, x=style.TOKENS, heights=heights, around=1.4)
    columns = {task: Column(*panels) for task, panels in grid.items()}
    for column in columns.values():
        column.size.set_yscale("log")
        column.no_behaviour.tick_params(axis="y", length=0)
    return figure, columns


def _draw_size(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    for look, line in style.by_model(rows, looks):
        line = line.assign(
            **{end: 100 * line[f"n_edges_{end}"] / line["n_edges_total"] for end in ("low", "high")}
        )
        layout.draw_band(axes, line, ("low", "high"), look=look)
        draw_with_status(axes, line, 100 * line["edge_fraction"], look=look)
        suspect = line["checkpoint"] != CheckpointStatus.OK
        mark_suspects(axes, line[suspect], 100 * line.loc[suspect, "edge_fraction"])
        needless = (line["certificate_status"] == CertificateStatus.OK) & ~needs_edges(line)
        _mark(axes, line[needless], 100 * line["edge_fraction"], _NEEDLESS, look=look)


def _draw_faithfulness(
    axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look], threshold: float
) -> None:
    draw_threshold(axes, threshold)
    if rows["f_raw"].isna().all():
        return
    for look, line in style.by_model(rows, looks):
        layout.draw_band(axes, line, ("f_raw_low", "f_raw_high"), look=look)
        draw_with_status(axes, line, line["f_raw"], look=look)
        _mark(axes, line[knows_the_answer(line)], line["f_raw"], _REST_KNOWS, look=look)
    layout.say_n(axes, rows)


def _mark(
    axes: Axes, rows: pd.DataFrame, values: pd.Series[float], label: str, *, look: style.Look
) -> None:
    """Draw a short line below the points of some rows."""
    if rows.empty:
        return
    below = axes.transData + ScaledTranslation(0, -5 / 72, axes.figure.dpi_scale_trans)
    axes.plot(
        *(rows["tokens"], values[rows.index]),
        **_UNDERLINE,
        color=look.colour,
        transform=below,
        label=label,
    )


def _certificate_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of these lines, if a panel has one."""
    words = {
        _NEEDLESS: "size: not all edges needed",
        _REST_KNOWS: "faithfulness: rest knows too",
    }
    return [
        Line2D([], [], label=text, color=style.GREY, **_UNDERLINE)
        for label, text in words.items()
        if layout.has_line(figure, label)
    ]


def _draw_no_behaviour(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    absent = rows[rows["status"] == Status.NO_BEHAVIOUR]
    for row, (model, look) in enumerate(looks.items()):
        tokens = absent.loc[absent["model"] == model, "tokens"]
        axes.plot(tokens, np.full(len(tokens), row), color=look.colour, label=look.label, **ABSENT)
        out = rows.loc[rows["status"].isin(LEFT_OUT) & (rows["model"] == model), "tokens"]
        mark: dict[str, Any] = {"color": look.colour, "linestyle": "none", **layout.NO_CHECKPOINT}
        axes.plot(out, np.full(len(out), row), **mark)


def _finish(first: Column, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    """Label the leftmost panels, whose y axes the others share."""
    first.size.set_ylabel("Circuit size\n(% of edges)")
    # the points set the ranges: intervals are very wide where the metric is small
    sizes = 100 * rows["edge_fraction"].dropna()
    if len(sizes):
        first.size.set_ylim(sizes.min() / 1.4, sizes.max() * 1.4)
    label_log(first.size.yaxis)
    first.faithfulness.set_ylabel("Faithfulness\n(circuit / model)")
    points = rows["f_raw"].dropna()
    first.faithfulness.set_ylim(min(0.0, 1.1 * points.min()) if len(points) else 0.0, None)
    first.faithfulness.set_ylim(None, max(1.3, 1.2 * points.max()) if len(points) else 1.3)
    names = [shorten(look.label, _STRIP_LABEL_PT, size=SIZE) for look in looks.values()]
    first.no_behaviour.set_yticks(range(len(looks)), names)
    first.no_behaviour.set_ylim(len(looks) - 0.4, -0.6)
