"""How well each model does each task, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import style
from circuitlapse.figures.ticks import label_log


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
    rows = frame[frame["model"].isin(labels)]
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = style.panel_grid(tasks)
        for task, axes in panels.items():
            _draw_task(axes, rows[rows["task"] == task], looks=looks, min_step=min_step)
        label_log(panels[tasks[0]].xaxis)
        models = style.model_handles(looks.values())
        style.legend_below(figure, [*models, *style.interval_handles(figure)])
    return figure


def _draw_task(
    axes: Axes, analysed: pd.DataFrame, *, looks: Mapping[str, style.Look], min_step: int
) -> None:
    axes.set_xlabel(style.TOKENS)
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        axes.set_ylabel("Task metric")
        return style.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    for model, look in looks.items():
        line = rows[rows["model"] == model].sort_values("tokens")
        style.draw_band(axes, line, ("ci_low", "ci_high"), look=look)
        axes.plot(
            line["tokens"], line["value"], color=look.colour, marker=look.marker, label=look.label
        )
    axes.set_ylabel(style.metric_title(rows))
    style.make_room(axes, n_lines=1)
    return style.say_n(axes, rows)
