"""How much behaviour and circuits differ between models that differ only in their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.figures.layout import (
    make_room_for_names,
    name_metric,
    no_circuits,
    task_columns,
    thin,
)
from circuitlapse.figures.style import label_log

_THIN = 0.6
_BOLD = 1.8
"""Factor by which the line of the mean is wider than usual."""
_RUNS: tuple[dict[str, Any], ...] = tuple(
    {"linestyle": line, "marker": marker, "markersize": 2.2}
    for line, marker, _ in zip(
        cycle(("-", "--", ":", "-.")), cycle(".x+1v"), range(20), strict=False
    )
)
"""Styles of the thin lines, one per run of a model: twenty different ones."""


def seeds_figure(
    behaviour: pd.DataFrame,
    *,
    circuit_summary: pd.DataFrame,
    labels: Mapping[str, str],
    variants: Mapping[str, Sequence[str]],
    run_labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
) -> Figure:
    """Draw task metric (top) and circuit size (bottom) of several runs, a column per task.

    Runs of a model differ in a seed: of weights, of data, or of both. Thin lines are single runs,
    at the steps at which each was analysed. At the steps that all runs of a model share, the bold
    line is their mean and the shade reaches from the lowest to the highest; both break where one
    run has no value. Models with one run are left out.

    Args:
        behaviour: the table `behaviour`.
        circuit_summary: the table `circuit_summary`, of one attribution method.
        labels: models and their names, in the order of the legend.
        variants: model -> all models that differ from it only in a seed, itself included.
        run_labels: name of each of these in the legend.
        tasks: tasks to draw; each has a column.
        min_step: first step to draw; the logarithmic axis never shows step 0.

    Raises:
        ArtifactError: `circuit_summary` has more than one attribution method.
    """
    groups = {model: list(variants.get(model, [])) for model in labels}
    groups = {model: names for model, names in groups.items() if len(names) > 1}
    runs = [name for group in groups.values() for name in group]
    if not runs:
        return _nothing_to_show()
    tables = [behaviour, style.of_one_method(circuit_summary, "circuit_summary")]
    tables = [table[table["model"].isin(runs)] for table in tables]
    looks = {model: look for model, look in style.looks(labels).items() if model in groups}
    with style.in_style():
        size: dict[str, Any] = {"heights": (1.6, 1.6), "sharey": False}
        figure, columns = task_columns(tasks, x=style.TOKENS, **size)
        for task, panels in columns.items():
            for axes, table, column in zip(panels, tables, ("value", "n_edges"), strict=True):
                analysed = table[table["task"] == task]
                rows = style.drawable(analysed, min_step=min_step)
                if rows[column].notna().any():
                    _draw(axes, rows, column=column, groups=groups, looks=looks)
                else:
                    layout.say(axes, no_circuits(analysed, min_step=min_step))
            of_task = tables[0][tables[0]["task"] == task]
            name_metric(panels[0], of_task, n_columns=len(tasks))
            panels[1].set_yscale("log")
            label_log(panels[1].yaxis)
        columns[tasks[0]][0].set_ylabel("Task metric")
        columns[tasks[0]][1].set_ylabel("Circuit size\n(edges)")
        make_room_for_names(figure)
        shown = [
            *_group_handles(looks, groups),
            *_run_handles(looks, groups, run_labels=run_labels),
        ]
        return layout.finish(figure, columns[tasks[0]][0], shown, _mark_handles())


def _nothing_to_show() -> Figure:
    """Return a figure of one line, for runs in which no model has several seeds."""
    with style.in_style():
        figure = Figure(figsize=(style.WIDTH_IN, 0.5), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        layout.say(axes, "no model was trained with several seeds")
        return figure


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    column: str,
    groups: Mapping[str, Sequence[str]],
    looks: Mapping[str, style.Look],
) -> None:
    """Draw single runs at their own steps, and mean and range at the steps they share."""
    for model, look in looks.items():
        of_group = rows[rows["model"].isin(groups[model])].sort_values("tokens")
        for name, run in zip(groups[model], cycle(_RUNS), strict=False):
            own = of_group[of_group["model"] == name]
            alone: dict[str, Any] = {"color": look.colour, "linewidth": _THIN, **run}
            axes.plot(own["tokens"], own[column].astype("float64"), label=name, **alone)
        whole = _over_all(of_group, column=column, n_runs=len(groups[model]))
        layout.draw_band(axes, whole.reset_index(), ("low", "high"), look=look)
        marks = thin(len(whole))
        marks["linewidth"] *= _BOLD
        mean: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot(whole.index, whole["mean"], **mean, **marks)


def _over_all(rows: pd.DataFrame, *, column: str, n_runs: int) -> pd.DataFrame:
    """Return mean, low and high at the steps that all runs share; NaN where one has no value."""
    values = rows.assign(value=rows[column].astype("float64")).groupby("tokens")["value"]
    whole = values.agg(["mean", "min", "max", "size", "count"])
    whole = whole.rename(columns={"min": "low", "max": "high"})
    whole.loc[whole["count"] < n_runs, ["mean", "low", "high"]] = float("nan")
    return whole[whole["size"] == n_runs]


def _group_handles(
    looks: Mapping[str, style.Look], groups: Mapping[str, Sequence[str]]
) -> list[Artist]:
    named = [
        look._replace(label=f"{look.label}, {len(groups[model])} runs")
        for model, look in looks.items()
    ]
    return layout.model_handles(named)


def _run_handles(
    looks: Mapping[str, style.Look],
    groups: Mapping[str, Sequence[str]],
    *,
    run_labels: Mapping[str, str],
) -> list[Artist]:
    return [
        Line2D([], [], color=look.colour, linewidth=_THIN, label=run_labels[name], **run)
        for model, look in looks.items()
        for name, run in zip(groups[model], cycle(_RUNS), strict=False)
    ]


def _mark_handles() -> list[Artist]:
    return [
        Line2D([], [], color=style.GREY, linewidth=_BOLD, label="mean over runs"),
        Patch(color=style.GREY, alpha=0.25, linewidth=0, label="lowest to highest run"),
    ]
