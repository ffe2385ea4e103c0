"""Grids of panels: a column per task, with a row per model or per quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import notes, style
from circuitlapse.figures.text import wrap


def task_columns(
    tasks: Sequence[str], *, heights: Sequence[float], sharey: Literal["row"] | bool = "row"
) -> tuple[Figure, dict[str, list[Axes]]]:
    """Return a figure with the panels of each task from top to bottom, `heights` inches high.

    They share a logarithmic x axis. The title of the task stands above the first.
    """
    figure = Figure(figsize=(style.WIDTH_IN, sum(heights) + 1.0), layout="constrained")
    grid = figure.subplots(
        len(heights), len(tasks), squeeze=False, sharex=True, sharey=sharey, height_ratios=heights
    )
    columns = {task: list(grid[:, index]) for index, task in enumerate(tasks)}
    for task, column in columns.items():
        column[0].set_title(_title(task, len(tasks)))
        column[0].set_xscale("log")
    return figure, columns


def label_x(columns: Mapping[str, Sequence[Axes]], label: str) -> None:
    """Write `label` below the lowest panel of each column, in as many lines as it takes."""
    for column in columns.values():
        column[-1].set_xlabel(style.across(label, len(columns), size=style.LABEL_SIZE))


def model_rows(
    models: Sequence[str], tasks: Sequence[str], *, height: float, sharex: bool = False
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Return a figure with a row per model, `height` inches high, and a column per task.

    The title of the task stands above the first panel of a column. No y axes are shared.
    """
    size = (style.WIDTH_IN, height * len(models) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(models), len(tasks), squeeze=False, sharex=sharex)
    for column, task in enumerate(tasks):
        grid[0, column].set_title(_title(task, max(len(tasks), 2)))
    cells = {
        (model, task): grid[row, column]
        for row, model in enumerate(models)
        for column, task in enumerate(tasks)
    }
    return figure, cells


def with_rows(labels: Mapping[str, str], table: pd.DataFrame) -> dict[str, str]:
    """Keep the models that are in `table`, and all where none is.

    A model without a row there is one whose circuits the configuration does not ask for.
    """
    there = {model: label for model, label in labels.items() if (table["model"] == model).any()}
    return there or dict(labels)


def label_row(axes: Axes, name: str, quantity: str, *, height: float) -> None:
    """Write a model's name and what is drawn beside a row that is `height` inches high."""
    lines = [wrap(text, 72 * height, size=style.LABEL_SIZE) for text in (name, quantity)]
    axes.set_ylabel("\n".join(lines))


def name_metric(axes: Axes, rows: pd.DataFrame, *, n_columns: int) -> None:
    """Write metric and number of prompts of `rows`, if there are any, below a column's title."""
    if len(rows):
        metric = style.metric_title(rows).replace("\n", " ")
        metric = style.across(metric, n_columns, size=style.TITLE_SIZE)
        axes.set_title(f"{axes.get_title()}\n{metric}\n{notes.n_prompts(rows)}")


def make_room_for_names(figure: Figure) -> None:
    """Let the figure grow by what titles and x labels of several lines would take from panels."""
    lines = [
        max(text.get_text().count("\n") for text in texts)
        for texts in (
            [axes.title for axes in figure.axes],
            [axes.xaxis.label for axes in figure.axes],
        )
    ]
    figure.set_figheight(figure.get_figheight() + 0.135 * sum(lines))


def thin(n_points: int) -> dict[str, Any]:
    """Return widths in points of a line and its markers that keep so many points apart."""
    return {"markersize": min(3.2, max(1.0, 90 / max(n_points, 1)))} | {
        "linewidth": min(1.1, max(0.5, 45 / max(n_points, 1)))
    }


def _title(task: str, n_columns: int) -> str:
    return style.across(style.task_title(task), n_columns, size=style.TITLE_SIZE)
