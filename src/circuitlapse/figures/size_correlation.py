"""Whether larger models have larger circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.grids import label_x, make_room_for_names, task_columns
from circuitlapse.figures.ticks import count_label, label_log

_LEVELS = {"edge": ("n_edges", "edges"), "node": ("n_nodes", "nodes")}
_QUARTILES = "middle half of the steps"


def size_correlation_figure(
    summary: pd.DataFrame,
    *,
    behaviour: pd.DataFrame,
    correlation: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
) -> Figure:
    """Draw mean circuit size against model size: edges (top), nodes (bottom), a column per task.

    The mean is over the circuits from `min_step` of the table `size_correlation` on; a bar has the
    middle half of them. Each panel says Pearson's r with the logarithm of the number of parameters.

    Args:
        summary: the table `circuit_summary`, of one attribution method.
        behaviour: the table `behaviour`, for the number of parameters.
        correlation: the table `size_correlation`.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one column each, in this order.

    Raises:
        ArtifactError: if `summary` holds more than one method.
    """
    summary = style.of_one_method(summary)
    parameters = behaviour.groupby("model")["n_parameters"].first()
    correlation = correlation[correlation["x"] == "log_params"]
    looks = style.looks(labels)
    with style.in_style():
        figure, columns = task_columns(tasks, heights=(1.5, 1.5), sharey=False)
        for task, panels in columns.items():
            for axes, (level, (count, _)) in zip(panels, _LEVELS.items(), strict=True):
                found = correlation[(correlation["task"] == task) & (correlation["level"] == level)]
                rows = summary[(summary["task"] == task) & summary["model"].isin(labels)]
                if rows.empty or found.empty:
                    notes.say(axes, "not analysed")
                    continue
                late = rows[rows["step"] >= found["min_step"].iloc[0]]
                if late[count].isna().all():
                    notes.say(axes, f"no circuits\nfrom step {found['min_step'].iloc[0]} on")
                    continue
                _draw(axes, late.assign(size=late[count]), parameters=parameters, looks=looks)
                notes.note(axes, notes.inside(_words(found.iloc[0]), axes))
        for axes, (_, name) in zip(columns[tasks[0]], _LEVELS.values(), strict=True):
            axes.set_ylabel(f"Mean circuit size\n({name})")
        label_x(columns, "Model size (parameters)")
        label_log(columns[tasks[0]][0].xaxis)
        notes.hide_empty_axes(figure)
        make_room_for_names(figure)
        marks: list[Artist] = [Line2D([], [], color=style.GREY, linewidth=0.8, label=_QUARTILES)]
        drawn = any(axes.lines for axes in figure.axes)
        legends.legend_below(figure, _model_handles(looks), marks if drawn else [])
    return figure


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    parameters: pd.Series[int],
    looks: Mapping[str, style.Look],
) -> None:
    """Draw a point per model at the mean of `size`, and room above for some words."""
    tops = []
    for model, look in looks.items():
        sizes = rows.loc[rows["model"] == model, "size"].dropna().to_numpy(dtype=float)
        if not len(sizes) or model not in parameters:
            continue
        x, (low, high) = parameters[model], np.quantile(sizes, [0.25, 0.75])
        axes.plot([x, x], [low, high], color=look.colour, linewidth=0.8)
        point: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot([x], [sizes.mean()], linestyle="none", markersize=5, clip_on=False, **point)
        tops += [high, sizes.mean()]
    axes.set_ylim(0, 1.7 * max(tops, default=1.0))
    axes.yaxis.set_major_formatter(lambda value, _: count_label(value))


def _words(found: pd.Series[Any]) -> str:
    n = f"{found['n']} models"
    if np.isnan(found["r"]):
        return f"r not defined\n{n}"
    p = f"p = {found['p']:.2g}" if found["p"] >= 0.001 else "p < 0.001"
    return f"r = {found['r']:.2f}\n{p}\n{n}"


def _model_handles(looks: Mapping[str, style.Look]) -> list[Artist]:
    handles = legends.model_handles(looks.values())
    for handle in handles:
        handle.set(linestyle="none", markersize=5)
    return handles
