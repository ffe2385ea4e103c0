"""Circuits in the models of other steps and on other tasks; heads in models of other steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.figures.heatmap import (
    cells,
    colour_bar,
    draw_cells,
    faithful_handles,
    faithfulness_colours,
    frame_cells,
    label_cells,
    outline_faithful,
    reason_handles,
    write_values,
)
from circuitlapse.figures.layout import (
    add_n,
    make_room_for_names,
    model_rows,
    name_metric,
    with_rows,
)
from circuitlapse.figures.style import SIZE, count_label, shorten, text_width
from circuitlapse.types import HEAD_SET_TITLES, RANDOM_LIKE, HeadSet, TransferControl

_LARGEST_IN = 2.2
"""Largest side of a panel; with many columns, panels are smaller."""
_BESIDE_IN = 1.6
"""Width of the labels and the colour bar beside the panels."""
_NARROWEST_IN = 4.8
"""Width of a figure with one panel in a row."""
_RUN = "Run in model of step"
_NAME_PT = 42.0
"""Width of the name of a task beside its row, in points."""

_ROW_IN = 1.6
_SHARE_OF_PANEL = 0.7
"""Share of the width of a column without the labels of the y axis."""


def transfer_figure(
    transfer: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
    min_step: int,
) -> Figure:
    """Draw faithfulness of the circuits of all steps in the models of all steps, as heat maps.

    There is a row of panels per model, a column per task. In a panel, rows are the steps at which
    circuits were found, from bottom to top; columns are the steps of the models they are run in.
    Hatched cells are undefined, white ones were not measured. A dot marks a circuit of which a
    random one of the same size reaches the threshold too, a ring a model in which the circuit of
    another seed does, at the same step.

    Args:
        transfer: the table `transfer`, of one attribution method.
        labels: models to draw and their names, from top to bottom.
        tasks: tasks to draw, from left to right.
        threshold: faithfulness that a circuit has to reach.
        min_step: first step to draw.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    table = style.of_one_method(transfer, "transfer")
    labels = with_rows(labels, table)
    of_task = table[(table["circuit_task"] == table["task"]) & table["model"].isin(labels)]
    late = of_task[(of_task["step"] >= min_step) & (of_task["circuit_step"] >= min_step)]
    late = late.assign(row=late["circuit_step"], column=late["step"])
    own, shown = (each[each["control"] == TransferControl.OWN] for each in (of_task, late))
    side = _side(len(tasks))
    colours = faithfulness_colours(threshold)
    with style.in_style():
        beside = "Circuit of step"
        figure, panels = model_rows(labels, tasks, x=_RUN, y=beside, height=side, gap=0.25)
        for (model, task), axes in panels.items():
            of_model = shown[shown["model"] == model]
            first = task == tasks[0]
            steps = [sorted(set(of_model[name])) for name in ("row", "column")]
            _frame_steps(axes, *steps, side=side, first=first)
            rows = of_model[of_model["task"] == task]
            if rows.empty:
                every = own[(own["model"] == model) & (own["task"] == task)]
                layout.say(axes, style.nothing_to_show(every, min_step=min_step, log=False))
            else:
                found = cells(rows, rows=steps[0], columns=steps[1])
                draw_cells(axes, found, colours=colours)
                outline_faithful(axes, found, threshold=threshold)
                controls = late[(late["model"] == model) & (late["task"] == task)]
                _mark_controls(axes, controls, steps, threshold=threshold)
        for task in tasks:
            add_n(panels[next(iter(labels)), task], shown[shown["task"] == task])
        marks = _control_handles(late, threshold=threshold)
        squares, n_columns = list(panels.values()), len(tasks)
        _finish(figure, squares, colours, marks, threshold=threshold, n_columns=n_columns)
    return figure


_MARKS: Mapping[TransferControl, Mapping[str, Any]] = {
    TransferControl.RANDOM: {"marker": ".", "markersize": 3.0, "color": "black"},
    TransferControl.SEED: {"marker": "o", "markersize": 4.0, "color": "black", "fillstyle": "none"},
}
"""Controls -> how squares are marked in which they reach the threshold."""
_CONTROL_NAMES = {
    TransferControl.RANDOM: "a random circuit of this size",
    TransferControl.SEED: "the circuit of another seed",
}


def _mark_controls(
    axes: Axes, rows: pd.DataFrame, steps: Sequence[Sequence[int]], *, threshold: float
) -> None:
    """Mark squares where a control reaches the threshold."""
    circuits, models = steps
    for control, mark in _MARKS.items():
        reaching = rows[(rows["control"] == control) & (rows["f_raw"] >= threshold)]
        places = reaching[["column", "row"]].drop_duplicates()
        x, y = places["column"].map(models.index), places["row"].map(circuits.index)
        axes.plot(x, y, linestyle="none", label=f"_{control}", **mark)


def _control_handles(rows: pd.DataFrame, *, threshold: float) -> list[Artist]:
    """Return a legend entry for each control, with the largest faithfulness that one has."""
    handles: list[Artist] = []
    for control, mark in _MARKS.items():
        f_raw = rows.loc[rows["control"] == control, "f_raw"].dropna()
        if len(f_raw):
            name, best = _CONTROL_NAMES[control], f_raw.max()
            nowhere = "nowhere; " if best < threshold else ""
            label = f"{name} reaches {threshold:g} ({nowhere}best: {best:.2f})"
            handles.append(Line2D([], [], linestyle="none", label=label, **mark))
    return handles


def transfer_tasks_figure(
    transfer: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str], threshold: float
) -> Figure:
    """Draw faithfulness of the circuit of each task on every task, one panel per model.

    Each model is drawn at its last step. Rows are the tasks on which circuits were found, columns
    the tasks they are run on. Hatched cells are undefined, white ones were not measured.

    Args:
        transfer: the table `transfer`, of one attribution method.
        labels: models to draw and the titles of their panels.
        tasks: the rows, from top to bottom, and the columns.
        threshold: faithfulness that a circuit has to reach.

    Raises:
        ArtifactError: the table has more than one attribution method.
    """
    table = style.of_one_method(transfer, "transfer")
    labels = with_rows(labels, table)
    table = table[table["task"].isin(tasks) & table["circuit_task"].isin(tasks)]
    table = table[table["control"] == TransferControl.OWN]
    last = table.groupby("model")["step"].transform("max")
    table = table[(table["step"] == last) & (table["circuit_step"] == last)]
    table = table.assign(row=table["circuit_task"], column=table["task"])
    n_columns = min(len(labels), 3)
    side = _side(n_columns)
    colours = faithfulness_colours(threshold)
    upwards = list(reversed(tasks))
    with style.in_style():
        figure, panels = _model_panels(labels, n_columns=n_columns, side=side)
        for model, axes in panels.items():
            rows = table[table["model"] == model]
            first = list(labels).index(model) % n_columns == 0
            _frame_tasks(axes, upwards, tasks, side=side, first=first)
            title = labels[model]
            if len(rows):
                title = f"{title}, step {rows['step'].iloc[0]}"
            axes.set_title(style.across(title, n_columns, size=style.TITLE_SIZE))
            add_n(axes, rows)
            if rows.empty:
                layout.say(axes, "not analysed")
                continue
            found = cells(rows, rows=upwards, columns=list(tasks))
            draw_cells(axes, found, colours=colours)
            outline_faithful(axes, found, threshold=threshold)
            write_values(axes, found, colours=colours, width=72 * side / len(tasks))
        squares = list(panels.values())
        _finish(figure, squares, colours, [], threshold=threshold, n_columns=n_columns)
    return figure


def _side(n_columns: int) -> float:
    """Return the side of a square panel, in inches."""
    return min(_LARGEST_IN, (style.WIDTH_IN - _BESIDE_IN) / n_columns - 0.1)


def _frame_steps(
    axes: Axes, found: Sequence[int], run: Sequence[int], *, side: float, first: bool
) -> None:
    frame_cells(axes, n_rows=len(found), n_columns=len(run))
    for along, steps in (("x", run), ("y", found)):
        names = [count_label(float(step)) for step in steps]
        label_cells(axes, names, along=along, length=72 * side)
    axes.tick_params(axis="y", labelleft=first)


def _frame_tasks(
    axes: Axes, rows: Sequence[str], columns: Sequence[str], *, side: float, first: bool
) -> None:
    frame_cells(axes, n_rows=len(rows), n_columns=len(columns))
    names = {task: shorten(style.task_short(task), _NAME_PT, size=SIZE) for task in columns}
    wide = max(text_width(name, SIZE) for name in names.values()) > 72 * side / len(columns) - 4
    axes.set_xticks(range(len(columns)), [names[task] for task in columns])
    axes.set_yticks(range(len(rows)), [names[task] for task in rows])
    axes.tick_params(axis="x", rotation=90 if wide else 0)
    axes.set_ylabel("Circuit of task" if first else "")
    axes.set_xlabel("Run on task")


def _model_panels(
    labels: Mapping[str, str], *, n_columns: int, side: float
) -> tuple[Figure, dict[str, Axes]]:
    n_rows = math.ceil(len(labels) / n_columns)
    titles = [style.across(label, n_columns, size=style.TITLE_SIZE) for label in labels.values()]
    around = 0.9 + 0.135 * max(title.count("\n") for title in titles)
    figure = Figure(figsize=(style.WIDTH_IN, (side + around) * n_rows + 0.3), layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for unused in grid[len(labels) :]:
        unused.set_visible(False)
    return figure, dict(zip(labels, grid, strict=False))


def _finish(
    figure: Figure,
    panels: Sequence[Axes],
    colours: ScalarMappable,
    controls: Sequence[Artist],
    *,
    threshold: float,
    n_columns: int,
) -> None:
    """Add colour bar and legend, and crop the width that few square panels leave empty."""
    width = n_columns * (_side(n_columns) + 0.15) + _BESIDE_IN + 0.2
    figure.set_figwidth(min(style.WIDTH_IN, max(_NARROWEST_IN, width)))
    make_room_for_names(figure)
    marks = [*faithful_handles(figure, threshold=threshold), *reason_handles(figure)]
    colour_bar(figure, colours, panels, threshold=threshold)
    layout.legend_below(figure, [*marks, *controls], n_rows=1 if n_columns > 1 else 2)


def swaps_figure(swaps: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str]) -> Figure:
    """Draw the metric with and without swapped heads against the step of the rest of the model.

    There is a row per model, a column per task. Steps are equally far apart. If several steps lend
    heads, the last one is drawn. Solid lines have heads with a role; bars are bootstrap intervals
    of the difference from the unchanged model. Dotted lines of the same colour have as many random
    heads, averaged over draws; the shade reaches from the lowest to the highest draw.

    Args:
        swaps: the table `swaps`.
        labels: models to draw and their names; each has a row.
        tasks: tasks to draw; each with a swap has a column.
    """
    rows = swaps[swaps["model"].isin(labels) & swaps["task"].isin(tasks)]
    columns = [task for task in tasks if (rows["task"] == task).any()] or list(tasks[:1])
    swapped = rows.dropna(subset="swapped")["head_set"].unique()
    sets = [name for name in swapped if not name.startswith(RANDOM_LIKE)]
    looks = style.looks({name: HEAD_SET_TITLES[HeadSet(name)] for name in sets})
    with style.in_style():
        size: dict[str, Any] = {"x": "Step of the rest of the model", "y": "Task metric"}
        figure, panels = model_rows(labels, columns, height=_ROW_IN, **size)
        for (model, task), axes in panels.items():
            here = (rows["model"] == model) & (rows["task"] == task)
            _draw_panel(axes, rows[here], looks=looks, n_columns=len(columns))
        for task in columns:
            top = panels[next(iter(labels)), task]
            name_metric(top, rows[rows["task"] == task], n_columns=len(columns))
        make_room_for_names(figure)
        layout.hide_empty_axes(figure)
        layout.legend_below(figure, layout.model_handles(looks.values()), _line_handles(rows))
    return figure


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look], n_columns: int
) -> None:
    if rows["swapped"].isna().all():
        axes.set_xticks([])
        return layout.say(axes, "not swapped" if rows.empty else "no such heads")
    rows = rows[rows["source_step"] == rows["source_step"].max()].sort_values("target_step")
    steps = rows["target_step"].unique().tolist()
    rows = rows.assign(place=rows["target_step"].map(steps.index))
    base = rows.drop_duplicates("target_step")
    axes.plot(base["place"], base["baseline"], color="black", linewidth=1.6, label="_base")
    for name, look in looks.items():
        _draw_set(axes, rows[rows["head_set"] == name], look=look)
        _draw_control(axes, rows[rows["head_set"] == RANDOM_LIKE + name], look=look)
    length = _SHARE_OF_PANEL * 72 * style.WIDTH_IN / n_columns
    label_cells(axes, [count_label(float(step)) for step in steps], along="x", length=length)
    layout.make_room(axes, n_lines=1)
    return layout.note(axes, f"heads of step {rows['source_step'].iloc[0]}")


def _draw_set(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["place"], rows["swapped"], color=look.colour, marker=look.marker)
    low, high = (rows["baseline"] + rows[f"difference_{end}"] for end in ("low", "high"))
    axes.vlines(rows["place"], low, high, color=look.colour, linewidth=0.8)


def _draw_control(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["place"], rows["swapped"], ":", color=look.colour)
    at = rows.assign(tokens=rows["place"])
    layout.draw_band(axes, at, ("lowest_draw", "highest_draw"), look=look)


def _line_handles(rows: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [Line2D([], [], color="black", linewidth=1.6, label="nothing swapped")]
    bar: dict[str, Any] = {"marker": "|", "markersize": 8, "linestyle": "none"}
    handles.append(Line2D([], [], color=style.GREY, label="bootstrap interval", **bar))
    if rows["head_set"].str.startswith(RANDOM_LIKE).any():
        label = "as many random heads"
        handles.append(Line2D([], [], color=style.GREY, linestyle=":", label=label))
        shade: dict[str, Any] = {"color": style.GREY, "alpha": 0.25, "linewidth": 0}
        if (rows["highest_draw"] > rows["lowest_draw"]).any():
            handles.append(Patch(label="lowest to highest draw", **shade))
    return handles
