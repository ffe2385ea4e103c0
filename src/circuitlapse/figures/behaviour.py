"""How well each model does each task, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import layout, style
from circuitlapse.figures.checkpoints import mark_suspects, suspect_handles
from circuitlapse.types.status import CheckpointStatus

_CORRUPTED: dict[str, Any] = {
    "linestyle": ":",
    "linewidth": 0.8,
    "marker": ".",
    "markersize": 2.5,
    "label": "_corrupted",
}


def behaviour_figure(
    behaviour: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str], min_step: int
) -> Figure:
    """Draw the task metric against training tokens, one panel per task, one line per model.

    Thin dotted lines are the metric on corrupted prompts. Crosses are suspect checkpoints, and a
    line breaks where a checkpoint is left out.

    Args:
        behaviour: the table `behaviour`.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a panel.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    rows = behaviour[behaviour["model"].isin(labels)]
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = layout.panel_grid(tasks)
        for task, axes in panels.items():
            _draw_task(axes, rows[rows["task"] == task], looks=looks, min_step=min_step)
        models = layout.model_handles(looks.values())
        marks = [*layout.interval_handles(figure), *_corrupted(figure)]
        marks += suspect_handles(figure)
        return layout.finish(figure, panels[tasks[0]], models, marks)


def _corrupted(figure: Figure) -> list[Artist]:
    if not layout.has_line(figure, _CORRUPTED["label"]):
        return []
    return [Line2D([], [], color=style.GREY, **_CORRUPTED | {"label": "corrupted prompts"})]


def _draw_task(
    axes: Axes, analysed: pd.DataFrame, *, looks: Mapping[str, style.Look], min_step: int
) -> None:
    axes.set_xlabel(style.TOKENS)
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        axes.set_ylabel("Task metric")
        return layout.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    axes.axhline(0, **style.THIN)
    for look, line in style.by_model(rows, looks):
        layout.draw_band(axes, line, ("ci_low", "ci_high"), look=look)
        if line["value_corrupted"].notna().any():
            axes.plot(line["tokens"], line["value_corrupted"], color=look.colour, **_CORRUPTED)
        suspect = line["checkpoint"] != CheckpointStatus.OK
        mark_suspects(axes, line[suspect], line.loc[suspect, "value"])
        axes.plot(
            line["tokens"], line["value"], color=look.colour, marker=look.marker, label=look.label
        )
    axes.set_ylabel(style.metric_title(rows))
    layout.make_room(axes, n_lines=1)
    return layout.say_n(axes, rows)
