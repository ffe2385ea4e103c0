"""How faithful circuits of growing size are, at the last step and at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import layout, style
from circuitlapse.figures.heatmap import bar_beside
from circuitlapse.figures.layout import (
    add_n,
    draw_threshold,
    make_room_for_names,
    model_rows,
    no_circuits,
    threshold_handles,
    with_rows,
)
from circuitlapse.figures.style import label_log
from circuitlapse.types import Ranking
from circuitlapse.types.status import Status

_CHOSEN: dict[str, Any] = {"markersize": 7, "markeredgecolor": "black", "linestyle": "none"}

_EMPTY: dict[str, Any] = {"marker": "_", "markersize": 9, "markeredgewidth": 1.5}
_EMPTY |= {"linestyle": "none"}
_RANDOM: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}

_NO_CIRCUITS = "no circuits at the last step:\nno behaviour"

_ROW_IN = 0.95
_RANGE = (-1.2, 1.6)
"""Largest range of a y axis: the ratio is very large where the metric of the model is small."""
_SIZES = "Circuit size (edges)"


def faithfulness_figure(
    faithfulness_curve: pd.DataFrame,
    *,
    ranking_curve: pd.DataFrame,
    circuit_summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
) -> Figure:
    """Draw faithfulness against circuit size at each model's last step, one panel per task.

    A model without a circuit at its last step has no curve, and the panel says so. Dotted lines are
    means over random circuits: what any circuit of that size would do. Bars at the left edge are
    what a circuit without edges reaches. Faithfulness is held-out where prompts were halved.

    Args:
        faithfulness_curve: the table `faithfulness_curve`, of one attribution method.
        ranking_curve: the table `ranking_curve`, for the random circuits.
        circuit_summary: the table `circuit_summary`, for the last step and its circuit.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a panel.
        threshold: faithfulness that a circuit has to reach.

    Raises:
        ArtifactError: a table has more than one attribution method.
    """
    chosen = _at_last_step(style.of_one_method(circuit_summary, "circuit_summary"))
    chosen, threshold = style.with_held_out(chosen), style.raw_threshold(chosen, threshold)
    tested = style.with_held_out(style.of_one_method(faithfulness_curve, "faithfulness_curve"))
    curve = _of(chosen, tested)
    chance = _of(chosen, _random_mean(style.of_one_method(ranking_curve, "ranking_curve")))
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = layout.panel_grid(tasks)
        for task, axes in panels.items():
            draw_threshold(axes, threshold)
            lines = curve[(curve["task"] == task) & curve["model"].isin(labels)]
            stars = chosen[(chosen["task"] == task) & chosen["model"].isin(labels)]
            _draw_chance(axes, chance[chance["task"] == task], looks=looks)
            _draw_task(axes, lines, chosen=stars, looks=looks)
        models = layout.model_handles(looks.values())
        marks = [*_mark_handles(figure), *threshold_handles(threshold)]
        return layout.finish(figure, panels[tasks[0]], [*models, *marks])


def _at_last_step(summary: pd.DataFrame) -> pd.DataFrame:
    last = summary.groupby(["model", "task"])["step"].transform("max")
    return summary[summary["step"] == last]


def _of(chosen: pd.DataFrame, curve: pd.DataFrame) -> pd.DataFrame:
    """Keep the curves of the searches in `chosen`; where the task is not done there is none."""
    return curve.merge(chosen[["model", "task", "step"]], on=["model", "task", "step"])


def _random_mean(rankings: pd.DataFrame) -> pd.DataFrame:
    """Return the mean size and faithfulness of random circuits, by share of the edges."""
    chance = rankings[rankings["ranking"] == Ranking.RANDOM]
    by = ["model", "task", "step", "fraction"]
    return chance.groupby(by, as_index=False)[["n_edges", "f_raw"]].mean()


def _draw_chance(axes: Axes, chance: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    for model, look in looks.items():
        # pruning leaves no edge of most small ones, and a logarithmic axis cannot show 0
        line = chance[(chance["model"] == model) & (chance["n_edges"] >= 1)]
        if line["f_raw"].notna().any():
            axes.plot(line["n_edges"], line["f_raw"], color=look.colour, zorder=1.5, **_RANDOM)


def _draw_task(
    axes: Axes, lines: pd.DataFrame, *, chosen: pd.DataFrame, looks: Mapping[str, style.Look]
) -> None:
    axes.set_xlabel("Circuit size (edges)")
    axes.set_ylabel("Faithfulness (circuit / model)")
    # a logarithmic axis cannot show circuits that pruning left without edges
    lines = lines[lines["f_raw"].notna() & (lines["n_edges"] > 0)]
    if lines.empty:
        axes.set_ylim(0, 1.3)
        return layout.say(axes, "not analysed" if chosen.empty else _NO_CIRCUITS)
    for model, look in looks.items():
        line = lines[lines["model"] == model].sort_values(["n_edges", "n_requested"])
        mark = chosen[chosen["model"] == model].dropna(subset=["n_edges"])
        own: dict[str, Any] = {"color": look.colour, "marker": look.marker}
        axes.plot(line["n_edges"], line["f_raw"], label=look.label, **own)
        axes.plot(mark["n_edges"].astype("float64"), mark["f_raw"], **own, **_CHOSEN)
        left = axes.get_yaxis_transform()  # x in shares of the panel: its left edge
        empty = mark["f_raw_empty"].dropna()
        axes.plot([0.03] * len(empty), empty, color=look.colour, transform=left, **_EMPTY)
    return _note(axes, chosen, looks=looks)


def _note(axes: Axes, chosen: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    """Write what the lines do not show into the upper left corner, left of rising curves."""
    absent = set(chosen.loc[chosen["status"] == Status.NO_BEHAVIOUR, "model"])
    lines = [f"no circuit: {look.label}" for model, look in looks.items() if model in absent]
    text = layout.inside("\n".join([*lines, layout.n_prompts(chosen)]), axes)
    layout.make_room(axes, n_lines=text.count("\n") + 1)
    layout.note(axes, text)


def _mark_handles(figure: Figure) -> list[Artist]:
    """Return a legend entry for each kind of mark that is in the figure."""
    lines = [line for axes in figure.axes for line in axes.lines]
    marks = [
        (
            any(
                line.get_markeredgecolor() == "black" and np.size(line.get_xdata())
                for line in lines
            ),
            Line2D([], [], color="white", marker="o", label="chosen circuit", **_CHOSEN),
        ),
        (
            any(line.get_linestyle() == ":" for line in lines),
            Line2D([], [], color=style.GREY, label="random circuits", **_RANDOM),
        ),
    ]
    empty = any(line.get_marker() == "_" and np.size(line.get_xdata()) for line in lines)
    marks.append((empty, Line2D([], [], color=style.GREY, label="without edges", **_EMPTY)))
    return [handle for drawn, handle in marks if drawn]


def faithfulness_over_training_figure(
    faithfulness_curve: pd.DataFrame,
    *,
    circuit_summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
    min_step: int,
) -> Figure:
    """Draw faithfulness against circuit size, a line per step, in a panel per model and task.

    Lines are coloured by training tokens. The logarithmic axis cannot show circuits that pruning
    left without edges. A step at which the model does not do the task has no line. Faithfulness is
    held-out where prompts were halved.

    Args:
        faithfulness_curve: the table `faithfulness_curve`, of one attribution method.
        circuit_summary: the table `circuit_summary`, for the number of prompts.
        labels: models to draw and their names, from top to bottom.
        tasks: tasks to draw, from left to right.
        threshold: faithfulness that a circuit has to reach.
        min_step: first step to draw; the logarithmic colours never show step 0.

    Raises:
        ArtifactError: a table has more than one attribution method.
    """
    curve, summary = (
        style.of_one_method(faithfulness_curve, "faithfulness_curve"),
        style.of_one_method(circuit_summary, "circuit_summary"),
    )
    curve, threshold = style.with_held_out(curve), style.raw_threshold(summary, threshold)
    labels = with_rows(labels, summary)
    summary = summary[summary["model"].isin(labels)]
    rows = style.drawable(curve[curve["model"].isin(labels)], min_step=min_step)
    rows = rows[rows["task"].isin(tasks) & rows["f_raw"].notna() & (rows["n_edges"] > 0)]
    colours = _colours(rows["tokens"])
    with style.in_style():
        size: dict[str, Any] = {"height": _ROW_IN, "gap": 0.1, "sharex": True}
        figure, panels = model_rows(labels, tasks, x=_SIZES, y="Faithfulness", **size)
        for (model, task), axes in panels.items():
            _frame(axes, rows, threshold=threshold, first=task == tasks[0])
            here = rows[(rows["model"] == model) & (rows["task"] == task)]
            if here.empty:
                analysed = summary[(summary["model"] == model) & (summary["task"] == task)]
                layout.say(axes, no_circuits(analysed, min_step=min_step))
            else:
                _draw(axes, here, colours=colours)
        first = next(iter(labels))
        for task in tasks:
            add_n(panels[first, task], summary[summary["task"] == task])
        make_room_for_names(figure)
        if len(rows):
            bar = bar_beside(figure, colours, list(panels.values()), label=style.TOKENS)
            label_log(bar.ax.yaxis)
        dashed = threshold_handles(threshold, linewidth=0.8)
        solid = Line2D([], [], color=style.GREY, linewidth=0.6, label="as the whole model (1)")
        return layout.finish(figure, panels[first, tasks[0]], [*dashed, solid])


def _colours(tokens: pd.Series[int]) -> ScalarMappable:
    """Return a colour per number of tokens, light for early and dark for late ones."""
    low, high = (float(tokens.min()), float(tokens.max())) if len(tokens) else (1.0, 10.0)
    low, high = (low / 2, high * 2) if low == high else (low, high)
    # without the palest yellow, which is too faint for a line on white
    shades = ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1, 256)))
    return ScalarMappable(LogNorm(low, high), shades)


def _frame(axes: Axes, rows: pd.DataFrame, *, threshold: float, first: bool) -> None:
    draw_threshold(axes, threshold, zorder=3)
    axes.axhline(1, **style.THIN | {"zorder": 3})
    axes.set_xscale("log")
    low, high = (rows["f_raw"].min(), rows["f_raw"].max()) if len(rows) else (0.0, 1.0)
    axes.set_ylim(max(_RANGE[0], min(0.0, 1.05 * low)), min(_RANGE[1], max(1.3, 1.05 * high)))
    axes.tick_params(axis="y", labelleft=first)
    if len(rows):
        axes.set_xlim(rows["n_edges"].min() / 1.2, rows["n_edges"].max() * 1.2)


def _draw(axes: Axes, rows: pd.DataFrame, *, colours: ScalarMappable) -> None:
    """Draw a line per step, and a dot where a step has one size only."""
    rows = rows.sort_values(["tokens", "n_edges", "n_requested"])
    tokens, starts = np.unique(rows["tokens"], return_index=True)
    points = rows[["n_edges", "f_raw"]].to_numpy(dtype="float64")
    curves = np.split(points, starts[1:])
    shades = colours.to_rgba(tokens)
    width = min(1.0, max(0.4, 30 / len(curves)))
    axes.add_collection(LineCollection(curves, colors=shades, linewidths=width))
    for shade, curve in zip(shades, curves, strict=True):
        if len(curve) == 1:
            axes.plot(*curve.T, marker=".", color=shade, linestyle="none")
