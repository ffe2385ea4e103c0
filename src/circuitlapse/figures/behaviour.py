"""How well each model does each task, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import style


def behaviour_figure(
    frame: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str], min_step: int = 1
) -> Figure:
    """Draw the task metric against training tokens, one panel per task, one line per model.

    Args:
        frame: the table `behaviour`.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one panel each, in this order.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.
    """
    rows = style.drawable(frame, min_step=min_step)
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = style.panel_grid(tasks)
        for task, axes in panels.items():
            _draw_task(axes, rows[(rows["task"] == task) & rows["model"].isin(labels)], looks=looks)
        style.label_log(panels[tasks[0]].xaxis)
        style.legend_below(figure, [*style.model_handles(looks.values()), style.band_handle()])
    return figure


def _draw_task(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    axes.set_xlabel(style.TOKENS)
    if rows.empty:
        axes.set_ylabel("Task metric")
        return style.say(axes, "no measurements of this task")
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    for model, look in looks.items():
        line = rows[rows["model"] == model].sort_values("tokens")
        style.draw_band(axes, line, ("ci_low", "ci_high"), look=look)
        axes.plot(
            line["tokens"], line["value"], color=look.colour, marker=look.marker, label=look.label
        )
    axes.set_ylabel(style.metric_title(rows))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * (high - low))  # room for the line of text
    return style.say_n(axes, rows)
