"""Circuit size over training, beside the task metric, and against model size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from circuitlapse.figures import layout, style
from circuitlapse.figures.layout import (
    draw_with_status,
    make_room_for_names,
    model_rows,
    name_metric,
    no_circuits,
    status_handles,
    task_columns,
    thin,
    with_rows,
)
from circuitlapse.figures.style import count_label, label_log
from circuitlapse.tables.size_correlation import COUNTS, comparable
from circuitlapse.types.status import Status

_ROW_IN = 0.95
_DOTTED: dict[str, Any] = {"color": "#444444", "linestyle": ":", "marker": "."}

_QUARTILES = "middle half of the steps"


def circuit_sizes_figure(
    circuit_summary: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
) -> Figure:
    """Draw the number of edges (top) and nodes (bottom) of circuits against training tokens.

    There is a column per task and a line per model, which breaks where there is no circuit.
    Circuits with hollow markers did not reach the threshold, those with rings overshoot the model.
    Shaded areas are bootstrap intervals of the number of edges.

    Args:
        circuit_summary: the table `circuit_summary`, of one attribution method.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a column.
        min_step: first step to draw; the logarithmic axis never shows step 0.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    analysed = style.of_models(circuit_summary, labels=labels, tasks=tasks)
    rows = style.drawable(analysed, min_step=min_step)
    looks = style.looks(labels)
    with style.in_style():
        figure, columns = task_columns(tasks, x=style.TOKENS, heights=(1.7, 1.7))
        for task, panels in columns.items():
            of_task = rows[rows["task"] == task]
            for axes, count in zip(panels, COUNTS.values(), strict=True):
                if of_task[count].isna().all():
                    words = no_circuits(analysed[analysed["task"] == task], min_step=min_step)
                    layout.say(axes, words)
                else:
                    _draw_sizes(axes, of_task, count=count, looks=looks)
        for axes, (level, count) in zip(columns[tasks[0]], COUNTS.items(), strict=True):
            axes.set_ylabel(f"Circuit size\n({level}s)")
            _range_of_sizes(axes, rows[count])
        make_room_for_names(figure)
        models = layout.model_handles(looks.values())
        marks = [*status_handles(_found(rows)), *layout.interval_handles(figure)]
        return layout.finish(figure, columns[tasks[0]][0], models, marks)


def size_and_performance_figure(
    circuit_summary: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
) -> Figure:
    """Draw the number of edges (left axis) and the task metric (right axis, dotted) over training.

    There is a row of panels per model, a column per task. Markers are what was measured. Lines
    break at an analysed step without a circuit or a metric.

    Args:
        circuit_summary: the table `circuit_summary`, of one attribution method.
        labels: models to draw and their names, from top to bottom.
        tasks: tasks to draw, from left to right.
        min_step: first step to draw; the logarithmic axis never shows step 0.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    analysed = style.of_models(circuit_summary, labels=labels, tasks=tasks)
    rows = style.drawable(analysed, min_step=min_step)
    looks, labels = style.looks(labels), with_rows(labels, circuit_summary)
    with style.in_style():
        size: dict[str, Any] = {"height": _ROW_IN, "gap": 0.1, "sharex": True}
        figure, panels = model_rows(labels, tasks, x=style.TOKENS, y="(edges)", **size)
        for (model, task), axes in panels.items():
            of_model = rows[rows["model"] == model]
            line = _on_all_steps(of_model[of_model["task"] == task], of_model)
            _range_of_sizes(axes, of_model["n_edges"])
            axes.tick_params(axis="y", labelleft=task == tasks[0])
            axes.set_xscale("log")
            if line["m_model"].isna().all():
                here = (analysed["model"] == model) & (analysed["task"] == task)
                layout.say(axes, no_circuits(analysed[here], min_step=min_step))
                continue
            _draw_metric(axes, line, rows.loc[rows["task"] == task, "m_model"])
            draw_with_status(axes, line, _float(line["n_edges"]), look=looks[model])
            if line["n_edges"].isna().all():
                layout.note(axes, "no circuit")
        first = next(iter(labels))
        for task in tasks:
            name_metric(panels[first, task], rows[rows["task"] == task], n_columns=len(tasks))
        make_room_for_names(figure)
        solid = Line2D([], [], color=style.GREY, marker="o", label="circuit size, left axis")
        dotted = Line2D([], [], label="task metric of the model, right axis", **_DOTTED)
        marks = status_handles(_found(rows) - {Status.OK})
        return layout.finish(figure, panels[first, tasks[0]], [solid, dotted], marks)


def _found(rows: pd.DataFrame) -> set[str]:
    return set(rows["status"]) - {Status.NO_BEHAVIOUR, Status.DUPLICATE, Status.NO_WEIGHTS}


def _float(values: pd.Series[Any]) -> pd.Series[float]:
    return values.astype("float64")


def _draw_sizes(
    axes: Axes, rows: pd.DataFrame, *, count: str, looks: Mapping[str, style.Look]
) -> None:
    for look, line in style.by_model(rows, looks):
        if count == "n_edges":
            layout.draw_band(axes, line, ("n_edges_low", "n_edges_high"), look=look)
        draw_with_status(axes, line, _float(line[count]), look=look)
    layout.say_n(axes, rows)


def _range_of_sizes(axes: Axes, sizes: pd.Series[Any]) -> None:
    """Let the points set the range: intervals are very wide where the metric is small."""
    axes.set_yscale("log")
    known = _float(sizes).dropna()
    known = known[known > 0]
    if len(known):
        axes.set_ylim(known.min() / 1.4, known.max() * 1.9)
    label_log(axes.yaxis)


def _on_all_steps(line: pd.DataFrame, of_model: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each step at which the model was analysed, of NaN where `line` has none."""
    tokens = np.unique(of_model["tokens"])
    return line.set_index("tokens").reindex(tokens).rename_axis("tokens").reset_index()


def _draw_metric(axes: Axes, line: pd.DataFrame, of_task: pd.Series[float]) -> None:
    """Draw the metric on an axis of its own, with the range of all models."""
    right = axes.twinx()
    right.plot(line["tokens"], line["m_model"], label="metric", **_DOTTED | thin(len(line)))
    low, high = min(0.0, of_task.min()), max(0.0, of_task.max())
    right.set_ylim(low - 0.05 * (high - low), high + 0.2 * (high - low))
    right.yaxis.set_major_locator(MaxNLocator(3))
    right.spines["right"].set_visible(True)


def size_correlation_figure(
    circuit_summary: pd.DataFrame,
    *,
    behaviour: pd.DataFrame,
    size_correlation: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
) -> Figure:
    """Draw mean circuit size against model size: edges (top), nodes (bottom), a column per task.

    The mean is over the circuits that can be compared, from `min_step` of the table
    `size_correlation` on; the bar spans the middle half of them. Each panel has Pearson's r with
    the logarithm of model size.

    Args:
        circuit_summary: the table `circuit_summary`, of one attribution method.
        behaviour: the table `behaviour`, for the number of parameters.
        size_correlation: the table `size_correlation`.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a column.

    Raises:
        ArtifactError: `circuit_summary` has more than one attribution method.
    """
    summary = style.of_one_method(circuit_summary, "circuit_summary")
    parameters = behaviour.groupby("model")["n_parameters"].first()
    correlation = size_correlation[size_correlation["x"] == "log_params"]
    looks = style.looks(labels)
    with style.in_style():
        size: dict[str, Any] = {"heights": (1.5, 1.5), "sharey": False}
        figure, columns = task_columns(tasks, x="Model size (parameters)", **size)
        for task, panels in columns.items():
            for axes, (level, count) in zip(panels, COUNTS.items(), strict=True):
                found = correlation[(correlation["task"] == task) & (correlation["level"] == level)]
                rows = summary[(summary["task"] == task) & summary["model"].isin(labels)]
                if rows.empty or found.empty:
                    layout.say(axes, "not analysed")
                    continue
                first = int(found["min_step"].iloc[0])
                late = comparable(rows, models=list(labels), min_step=first)
                if late.empty:
                    layout.say(axes, f"no faithful circuits\nat the same step,\nfrom {first} on")
                    continue
                _draw(axes, late.assign(size=late[count]), parameters=parameters, looks=looks)
                layout.note(axes, layout.inside(_words(found.iloc[0]), axes))
        for axes, level in zip(columns[tasks[0]], COUNTS, strict=True):
            axes.set_ylabel(f"Mean circuit size\n({level}s)")
        make_room_for_names(figure)
        marks: list[Artist] = [Line2D([], [], color=style.GREY, linewidth=0.8, label=_QUARTILES)]
        drawn = any(axes.lines for axes in figure.axes)
        models = _model_handles(looks)
        return layout.finish(figure, columns[tasks[0]][0], models, marks if drawn else [])


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    parameters: pd.Series[int],
    looks: Mapping[str, style.Look],
) -> None:
    """Draw a point per model at the mean of `size`, and leave room for text above."""
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
    n = f"{found['n']} models, {found['n_steps']} step{'s' if found['n_steps'] != 1 else ''}"
    if np.isnan(found["r"]):
        return f"r not defined\n{n}"
    p = f"p = {found['p']:.2g}" if found["p"] >= 0.001 else "p < 0.001"
    return f"r = {found['r']:.2f}\n{p}\n{n}"


def _model_handles(looks: Mapping[str, style.Look]) -> list[Artist]:
    handles = layout.model_handles(looks.values())
    for handle in handles:
        handle.set(linestyle="none", markersize=5)
    return handles
