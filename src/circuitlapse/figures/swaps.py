"""How a model does with heads taken from another training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.grids import (
    label_row,
    label_x,
    make_room_for_names,
    model_rows,
    name_metric,
)
from circuitlapse.figures.heat import label_cells
from circuitlapse.figures.ticks import count_label
from circuitlapse.types import RANDOM_LIKE, HeadSet

SET_TITLES = {
    HeadSet.CIRCUIT: "all heads of the circuit",
    HeadSet.NAME_MOVERS: "name movers",
    HeadSet.NAME_MOVERS_CS: "name movers and copy suppression",
    HeadSet.S2I: "S-inhibition",
    HeadSet.INDUCTION_DUPLICATE: "induction and duplicate token",
    HeadSet.INDUCTION_SUCCESSOR: "induction and succession",
}
_ROW_IN = 1.6
_SHARE_OF_PANEL = 0.7
"""Of the width of a column, without the labels of the y axis."""


def swaps_figure(swaps: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str]) -> Figure:
    """Draw the metric with and without swapped heads against the step of the rest of the model.

    Steps stand side by side, however far apart they are. A row per model, a column per task; of
    several sources the last step is drawn. Solid lines have heads with a role; their bars are the
    bootstrap interval of the difference to what was not swapped. Dotted lines of the same colour
    have as many random heads, a mean over draws; the shade reaches from the lowest to the highest
    draw.

    Args:
        swaps: the table `swaps`.
        labels: the models to draw, one row each, and their names.
        tasks: one column each; tasks without a swap are left out.
    """
    rows = swaps[swaps["model"].isin(labels) & swaps["task"].isin(tasks)]
    columns = [task for task in tasks if (rows["task"] == task).any()] or list(tasks[:1])
    swapped = rows.dropna(subset="swapped")["head_set"].unique()
    sets = [name for name in swapped if not name.startswith(RANDOM_LIKE)]
    looks = style.looks({name: SET_TITLES[HeadSet(name)] for name in sets})
    with style.in_style():
        figure, panels = model_rows(list(labels), columns, height=_ROW_IN)
        for (model, task), axes in panels.items():
            here = (rows["model"] == model) & (rows["task"] == task)
            _draw_panel(axes, rows[here], looks=looks, n_columns=len(columns))
        for model, label in labels.items():
            label_row(panels[model, columns[0]], label, "Task metric", height=_ROW_IN)
        below = {task: [panels[model, task] for model in labels] for task in columns}
        label_x(below, "Step of the rest of the model")
        for task, (axes, *_) in below.items():
            name_metric(axes, rows[rows["task"] == task], n_columns=len(columns))
        make_room_for_names(figure)
        notes.hide_empty_axes(figure)
        legends.legend_below(figure, legends.model_handles(looks.values()), _line_handles(rows))
    return figure


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look], n_columns: int
) -> None:
    if rows["swapped"].isna().all():
        axes.set_xticks([])
        return notes.say(axes, "not swapped" if rows.empty else "no such heads")
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
    notes.make_room(axes, n_lines=1)
    return notes.note(axes, f"heads of step {rows['source_step'].iloc[0]}")


def _draw_set(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["place"], rows["swapped"], color=look.colour, marker=look.marker)
    low, high = (rows["baseline"] + rows[f"difference_{end}"] for end in ("low", "high"))
    axes.vlines(rows["place"], low, high, color=look.colour, linewidth=0.8)


def _draw_control(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["place"], rows["swapped"], ":", color=look.colour)
    at = rows.assign(tokens=rows["place"])
    style.draw_band(axes, at, ("lowest_draw", "highest_draw"), look=look)


def _line_handles(rows: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [Line2D([], [], color="black", linewidth=1.6, label="nothing swapped")]
    bar: dict[str, Any] = {"marker": "|", "markersize": 8, "linestyle": "none"}
    handles.append(Line2D([], [], color=style.GREY, label="bootstrap interval", **bar))
    if rows["head_set"].str.startswith(RANDOM_LIKE).any():
        label = "as many random heads"
        handles.append(Line2D([], [], color=style.GREY, linestyle=":", label=label))
        shade: dict[str, Any] = {"color": style.GREY, "alpha": 0.25, "linewidth": 0}
        handles.append(Patch(label="lowest to highest draw", **shade))
    return handles
