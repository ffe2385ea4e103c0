"""Grids of panels, legends, notes in panels, intervals, and marks by the status of a circuit."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, count, product
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, ScalarFormatter

from circuitlapse.figures import style
from circuitlapse.figures.style import (
    GREY,
    LABEL_SIZE,
    SIZE,
    WIDTH_IN,
    Look,
    label_log,
    text_width,
    wrap,
)
from circuitlapse.types.status import Status

NO_TASK = "no such task in this run"
"""Text of a panel about a task that the run does not have."""

ABSENT: dict[str, Any] = {"marker": "|", "markersize": 5, "linestyle": "none"}
"""The mark of a step without circuit."""
NO_CHECKPOINT: dict[str, Any] = {"marker": "x", "markersize": 3}
"""The mark of a step that is no checkpoint of its own."""
_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}
_INTERVAL_BAR = "_interval"
"""Label of the bars of isolated points; the underscore keeps it off legends."""


def model_handles(models: Iterable[Look]) -> list[Artist]:
    """Return one legend entry per model."""
    return [Line2D([], [], color=m.colour, marker=m.marker, label=m.label) for m in models]


def has_line(figure: Figure, label: str) -> bool:
    """Return whether a panel of `figure` has a line with this label."""
    return any(line.get_label() == label for axes in figure.axes for line in axes.lines)


def interval_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of the intervals, if there are any in the figure."""
    label = "bootstrap interval"
    if any(axes.collections for axes in figure.axes):
        return [Patch(color=GREY, alpha=0.25, linewidth=0, label=label)]
    if has_line(figure, _INTERVAL_BAR):
        bar: dict[str, Any] = {"marker": "|", "markersize": 8, "linestyle": "none"}
        return [Line2D([], [], color=GREY, label=label, **bar)]
    return []


def legend_below(figure: Figure, *groups: Sequence[Artist], n_rows: int = 1) -> None:
    """Put one legend under all panels, each group in columns of its own; none without entries.

    It has at most five columns, and the fewest rows, from `n_rows` up, that fit into the width.
    With many rows the figure grows.
    """
    groups = tuple(group for group in groups if group)
    if not groups:
        return
    for handle in chain.from_iterable(groups):
        handle.set_label(wrap(str(handle.get_label()), 0.4 * 72 * WIDTH_IN, size=LABEL_SIZE))
    tallest = max(len(group) for group in groups)
    entries, rows = next(
        (entries, rows)
        for rows in count(n_rows)
        for entries in [in_columns(*groups, n_rows=rows)]
        if rows >= tallest or _fits_below(entries, n_rows=rows)
    )
    lines = sum(str(entry.get_label()).count("\n") + 1 for entry in entries[:rows])
    figure.set_figheight(figure.get_figheight() + 0.16 * max(0, lines - 3))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries) // rows)


def finish(figure: Figure, first: Axes, *groups: Sequence[Artist], n_rows: int = 1) -> Figure:
    """Label the x axis that `first` shares, hide axes without data, and put the legend below."""
    label_log(first.xaxis)
    hide_empty_axes(figure)
    legend_below(figure, *groups, n_rows=n_rows)
    return figure


def _fits_below(entries: Sequence[Artist], *, n_rows: int) -> bool:
    columns = [entries[start : start + n_rows] for start in range(0, len(entries), n_rows)]
    widths = [max(_entry_width(entry) for entry in column) for column in columns]
    return len(columns) <= 5 and sum(widths) <= 72 * WIDTH_IN


def _entry_width(entry: Artist) -> float:
    """Return the width in points of an entry's text, its line or patch, and the space around."""
    lines = str(entry.get_label()).split("\n")
    return max(text_width(line, LABEL_SIZE) for line in lines) + 5 * LABEL_SIZE


def in_columns(*groups: Sequence[Artist], n_rows: int) -> list[Artist]:
    """Return legend entries such that each group starts a column of `n_rows` entries."""
    blank = Line2D([], [], linestyle="none", label=" ")
    padded = [[*group, *[blank] * (-len(group) % n_rows)] for group in groups]
    return list(chain.from_iterable(padded))


def inside(text: str, axes: Axes) -> str:
    """Break text in a panel, line by line, leaving room for axis labels."""
    spec = axes.get_subplotspec()
    width = 0.62 * 72 * WIDTH_IN / (spec.get_gridspec().ncols if spec else 1)
    return "\n".join(wrap(line, width, size=SIZE) for line in text.split("\n"))


def say(axes: Axes, text: str) -> None:
    """Write `text` into the middle of a panel that has nothing to show."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, inside(text, axes), color=GREY, bbox=box, **place)


def say_n(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the number of prompts into the upper left corner, left of rising curves."""
    note(axes, n_prompts(rows))


def note(axes: Axes, text: str) -> None:
    """Write `text` into the upper left corner of a panel."""
    axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", color=GREY)


def n_prompts(rows: pd.DataFrame) -> str:
    """Return for instance "n = 200", or the range if rows differ.

    One prompt is none: the results of others are means of prompts that nothing is known of.
    """
    if (rows["n"] == 1).all():
        return "published means"
    return f"n = {low_to_high(rows['n'])}"


def low_to_high(numbers: pd.Series[Any]) -> str:
    """Return the range of some numbers, such as "1 to 3", or the only one."""
    low, high = numbers.min(), numbers.max()
    return f"{low}" if low == high else f"{low} to {high}"


def make_room(axes: Axes, *, n_lines: int) -> None:
    """Raise the upper end of a panel by the height of some lines of text."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * n_lines * (high - low))


def hide_empty_axes(figure: Figure) -> None:
    """Take the ticks off each axis without data in any panel that shares it.

    Its numbers would be invented. An axis whose ticks have names keeps them.
    """
    for axes in figure.axes:
        for along, shared in (("x", axes.get_shared_x_axes()), ("y", axes.get_shared_y_axes())):
            axis = axes.xaxis if along == "x" else axes.yaxis
            panels = shared.get_siblings(axes)
            ends = [getattr(panel.dataLim, f"interval{along}") for panel in panels]
            if not (np.isfinite(ends).all(axis=1).any() or _has_names(axis)):
                sides = ("bottom", "labelbottom") if along == "x" else ("left", "labelleft")
                axis.set_tick_params(which="both", **dict.fromkeys(sides, False))


def _has_names(axis: Axis) -> bool:
    fixed = isinstance(axis.get_major_locator(), FixedLocator)
    return fixed and not isinstance(axis.get_major_formatter(), ScalarFormatter)


def side_by_side(n_panels: int) -> int:
    """Return the number of columns for `n_panels`: at most three; four panels are two by two."""
    return 2 if n_panels == 4 else min(n_panels, 3)


def panel_grid(tasks: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one titled panel per task, at most three side by side.

    They share their x axis, which is logarithmic.
    """
    n_columns = side_by_side(len(tasks))
    n_rows = math.ceil(len(tasks) / n_columns)
    figure = Figure(figsize=(WIDTH_IN, 2.1 * n_rows + 0.4), layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=True).flat)
    for task, axes in zip(tasks, grid, strict=False):
        axes.set_title(style.column_title(task, n_columns))
        axes.tick_params(labelbottom=True)
        axes.set_xscale("log")
    for unused in grid[len(tasks) :]:
        unused.set_visible(False)
    return figure, dict(zip(tasks, grid, strict=False))


def task_columns(
    tasks: Sequence[str],
    *,
    x: str,
    heights: Sequence[float],
    around: float = 1.0,
    sharey: Literal["row"] | bool = "row",
) -> tuple[Figure, dict[str, list[Axes]]]:
    """Return a figure with a column of panels per task, from top to bottom.

    All share a logarithmic x axis. The title of the task stands above its first panel.

    Args:
        tasks: the columns, from the left.
        x: label below each column.
        heights: of the panels of a column, in inches.
        around: height of titles, labels and legend together, in inches.
        sharey: "row" if the panels of a row share their y axis.
    """
    figure = Figure(figsize=(style.WIDTH_IN, sum(heights) + around), layout="constrained")
    grid = figure.subplots(
        len(heights), len(tasks), squeeze=False, sharex=True, sharey=sharey, height_ratios=heights
    )
    columns = {task: list(grid[:, index]) for index, task in enumerate(tasks)}
    for task, column in columns.items():
        column[0].set_title(style.column_title(task, len(tasks)))
        column[0].set_xscale("log")
        column[-1].set_xlabel(style.across(x, len(tasks), size=LABEL_SIZE))
    return figure, columns


def model_rows(
    labels: Mapping[str, str],
    tasks: Sequence[str],
    *,
    x: str,
    y: str,
    height: float,
    gap: float = 0.0,
    sharex: bool = False,
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Return a figure with a row of panels per model and a column per task, by model and task.

    The title of the task stands above a column, the name of the model beside a row. Panels share
    no y axis.

    Args:
        labels: the rows, from above: models and their names.
        tasks: the columns, from the left.
        x: label below each column.
        y: label beside each row, below the name of the model.
        height: of a row, in inches.
        gap: between two rows, in inches.
        sharex: whether all panels share their x axis.
    """
    size = (style.WIDTH_IN, (height + gap) * len(labels) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(labels), len(tasks), squeeze=False, sharex=sharex)
    for row, label in zip(grid, labels.values(), strict=True):
        lines = [wrap(text, 72 * height, size=LABEL_SIZE) for text in (label, y)]
        row[0].set_ylabel("\n".join(lines))
    for task, column in zip(tasks, grid.T, strict=True):
        column[0].set_title(style.column_title(task, max(len(tasks), 2)))
        column[-1].set_xlabel(style.across(x, len(tasks), size=LABEL_SIZE))
    return figure, dict(zip(product(labels, tasks), grid.flat, strict=True))


def with_rows(labels: Mapping[str, str], table: pd.DataFrame) -> dict[str, str]:
    """Keep the models that are in `table`, or all if none is.

    A model without rows is one whose circuits the configuration does not ask for.
    """
    there = {model: label for model, label in labels.items() if (table["model"] == model).any()}
    return there or dict(labels)


def add_n(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the number of prompts of `rows`, if any, below the title of a panel."""
    if len(rows):
        axes.set_title(f"{axes.get_title()}\n{n_prompts(rows)}")


def name_metric(axes: Axes, rows: pd.DataFrame, *, n_columns: int) -> None:
    """Write metric and number of prompts of `rows`, if any, below the title of a column."""
    if len(rows):
        metric = style.metric_title(rows).replace("\n", " ")
        metric = style.across(metric, n_columns, size=style.TITLE_SIZE)
        axes.set_title(f"{axes.get_title()}\n{metric}")
        add_n(axes, rows)


def make_room_for_names(figure: Figure) -> None:
    """Let the figure grow by the height of the extra lines of titles and x labels."""
    lines = [
        max(text.get_text().count("\n") for text in texts)
        for texts in (
            [axes.title for axes in figure.axes],
            [axes.xaxis.label for axes in figure.axes],
        )
    ]
    figure.set_figheight(figure.get_figheight() + 0.135 * sum(lines))


def thin(n_points: int) -> dict[str, Any]:
    """Return the widths, in points, of a line and markers that keep `n_points` apart."""
    return {"markersize": min(3.2, max(1.0, 90 / max(n_points, 1)))} | {
        "linewidth": min(1.1, max(0.5, 45 / max(n_points, 1)))
    }


def draw_band(axes: Axes, line: pd.DataFrame, limits: tuple[str, str], *, look: Look) -> None:
    """Shade the interval between two columns of one model's line.

    An isolated point, where there is nothing to shade, gets a bar.
    """
    low, high = (line[name].to_numpy(dtype=float) for name in limits)
    tokens, known = line["tokens"].to_numpy(), np.isfinite(low) & np.isfinite(high)
    lone = style.without_neighbours(known)
    if (known & ~lone).any():
        axes.fill_between(tokens, low, high, color=look.colour, alpha=0.2, linewidth=0)
    if lone.any():
        gaps = np.full(lone.sum(), np.nan)
        ends = np.stack([low[lone], high[lone], gaps], axis=1).ravel()
        bar: dict[str, Any] = {"linewidth": 0.8, "label": _INTERVAL_BAR}
        axes.plot(np.repeat(tokens[lone], 3), ends, color=look.colour, **bar)


def draw_with_status(
    axes: Axes, line: pd.DataFrame, values: pd.Series[float], *, look: style.Look
) -> None:
    """Draw `values` of one model, with markers by status; the line breaks without a circuit."""
    size = thin(len(line))
    axes.plot(
        line["tokens"], values, color=look.colour, label=look.label, linewidth=size["linewidth"]
    )
    own: dict[str, Any] = {"marker": look.marker, "color": look.colour}
    own["markersize"] = size["markersize"]
    ring = _RING | {"markersize": _RING["markersize"] / 3.2 * size["markersize"]}
    for status, kinds in {
        Status.OK: [own],
        Status.NOT_REACHED: [own | _HOLLOW],
        Status.OVERSHOOT: [own, ring],
    }.items():
        here = line["status"] == status
        for kind in kinds:
            axes.plot(line["tokens"][here], values[here], linestyle="none", **kind)


def status_handles(statuses: Collection[str]) -> list[Artist]:
    """Return a legend entry for each status that occurs."""
    grey: dict[str, Any] = {"color": style.GREY, "linestyle": "none"}
    marks = {
        Status.OK: Line2D([], [], marker="o", label="faithful circuit", **grey),
        Status.NOT_REACHED: Line2D(
            [], [], marker="o", label="threshold not reached", **grey, **_HOLLOW
        ),
        Status.OVERSHOOT: Line2D([], [], label="overshoots the model", **_RING, linestyle="none"),
        Status.NO_BEHAVIOUR: Line2D(
            [], [], label="no behaviour, no circuit", color=style.GREY, **ABSENT
        ),
        Status.DUPLICATE: Line2D([], [], label="weights of another step", **grey, **NO_CHECKPOINT),
        Status.NO_WEIGHTS: Line2D([], [], label="no weights", **grey, **NO_CHECKPOINT),
    }
    return [handle for status, handle in marks.items() if status in statuses]


def draw_threshold(axes: Axes, threshold: float, *, zorder: int = 1) -> None:
    """Draw a dashed line at the faithfulness that a circuit has to reach; none at NaN."""
    axes.axhline(threshold, color=GREY, linestyle="--", linewidth=0.8, zorder=zorder)


def threshold_handles(threshold: float, **look: Any) -> list[Artist]:
    """Return the legend entry of that line, if there is one."""
    if np.isnan(threshold):
        return []
    return [Line2D([], [], color=GREY, linestyle="--", label=f"threshold ({threshold:g})", **look)]


def no_circuits(analysed: pd.DataFrame, *, min_step: int) -> str:
    """Say why a task has no circuit to draw."""
    if style.drawable(analysed, min_step=min_step).empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    return "no circuits:\nno behaviour"
