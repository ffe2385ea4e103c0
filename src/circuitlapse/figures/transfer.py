"""How well circuits do in the model of another step, and on other tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.grids import label_row, make_room_for_names, model_rows, with_rows
from circuitlapse.figures.heat import (
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
from circuitlapse.figures.text import shorten, text_width
from circuitlapse.figures.ticks import SIZE, count_label

_LARGEST_IN = 2.2
"""Side of a panel where there are few; of more, what fits side by side."""
_BESIDE_IN = 1.6
"""Width of the labels and the colour bar beside the panels."""
_NARROWEST_IN = 4.8
"""Width of a figure with one panel in a row."""
_RUN = "Run in model of step"
_NAME_PT = 42.0
"""Width of a task's name beside its row."""


def transfer_figure(
    table: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
    min_step: int = 1,
) -> Figure:
    """Draw faithfulness of the circuits of all steps in the models of all steps, as heat maps.

    There is a row of panels per model, a column per task. In a panel, rows are the steps at which
    circuits were found, from below, columns the steps of the models that they are run in. Hatched
    cells are not defined, white ones not measured.

    Args:
        table: the table `transfer`, of one attribution method.
        labels: the models to draw, from above, and their names there.
        tasks: the tasks to draw, from the left.
        threshold: the faithfulness that a circuit had to reach.
        min_step: earlier steps are left out.

    Raises:
        ArtifactError: if the table holds more than one method.
    """
    table = style.of_one_method(table)
    labels = with_rows(labels, table)
    own = table[(table["circuit_task"] == table["task"]) & table["model"].isin(labels)]
    shown = own[(own["step"] >= min_step) & (own["circuit_step"] >= min_step)]
    shown = shown.assign(row=shown["circuit_step"], column=shown["step"])
    side = _side(len(tasks))
    colours = faithfulness_colours(threshold)
    with style.in_style():
        figure, panels = model_rows(list(labels), tasks, height=side + 0.25)
        for (model, task), axes in panels.items():
            of_model = shown[shown["model"] == model]
            first = task == tasks[0]
            steps = [sorted(set(of_model[name])) for name in ("row", "column")]
            _frame_steps(axes, *steps, side=side, first=first)
            rows = of_model[of_model["task"] == task]
            if rows.empty:
                of_task = own[(own["model"] == model) & (own["task"] == task)]
                notes.say(axes, _why_empty(of_task, min_step=min_step))
            else:
                found = cells(rows, rows=steps[0], columns=steps[1])
                draw_cells(axes, found, colours=colours)
                outline_faithful(axes, found, threshold=threshold)
        for model, label in labels.items():
            label_row(panels[model, tasks[0]], label, "Circuit of step", height=side)
        names, below = list(labels), style.across(_RUN, len(tasks), size=style.LABEL_SIZE)
        for task in tasks:
            top, bottom = panels[names[0], task], panels[names[-1], task]
            top.set_title(_with_n(top.get_title(), shown[shown["task"] == task]))
            bottom.set_xlabel(below)
        _finish(figure, list(panels.values()), colours, threshold=threshold, n_columns=len(tasks))
    return figure


def transfer_tasks_figure(
    table: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str], threshold: float
) -> Figure:
    """Draw faithfulness of the circuit of each task on every task, one panel per model.

    Each model is drawn at its last step. Rows are the tasks on which circuits were found, columns
    those that they are run on. Hatched cells are not defined, white ones not measured.

    Args:
        table: the table `transfer`, of one attribution method.
        labels: one panel each, in this order, and their titles.
        tasks: the rows, from above, and the columns.
        threshold: the faithfulness that a circuit had to reach.

    Raises:
        ArtifactError: if the table holds more than one method.
    """
    table = style.of_one_method(table)
    labels = with_rows(labels, table)
    table = table[table["task"].isin(tasks) & table["circuit_task"].isin(tasks)]
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
            if rows.empty:
                axes.set_title(style.across(labels[model], n_columns, size=style.TITLE_SIZE))
                notes.say(axes, "not analysed")
                continue
            title = f"{labels[model]}, step {rows['step'].iloc[0]}"
            title = style.across(title, n_columns, size=style.TITLE_SIZE)
            axes.set_title(_with_n(title, rows))
            found = cells(rows, rows=upwards, columns=list(tasks))
            draw_cells(axes, found, colours=colours)
            outline_faithful(axes, found, threshold=threshold)
            write_values(axes, found, colours=colours, width=72 * side / len(tasks))
        _finish(figure, list(panels.values()), colours, threshold=threshold, n_columns=n_columns)
    return figure


def _side(n_columns: int) -> float:
    """Return the side of a square panel, in inches."""
    return min(_LARGEST_IN, (style.WIDTH_IN - _BESIDE_IN) / n_columns - 0.1)


def _with_n(title: str, rows: pd.DataFrame) -> str:
    return f"{title}\n{notes.n_prompts(rows)}" if len(rows) else title


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
    *,
    threshold: float,
    n_columns: int,
) -> None:
    """Add colour bar and legend, and take away the width that few square panels leave empty."""
    width = n_columns * (_side(n_columns) + 0.15) + _BESIDE_IN + 0.2
    figure.set_figwidth(min(style.WIDTH_IN, max(_NARROWEST_IN, width)))
    make_room_for_names(figure)
    marks = [*faithful_handles(figure, threshold=threshold), *reason_handles(figure)]
    colour_bar(figure, colours, panels, threshold=threshold)
    if marks:
        legends.legend_below(figure, marks, n_rows=1 if n_columns > 1 else 2)


def _why_empty(rows: pd.DataFrame, *, min_step: int) -> str:
    return "not analysed" if rows.empty else f"only steps before {min_step}"
