"""This run beside the authors' results, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import layout, style
from circuitlapse.figures.layout import draw_band, task_columns, thin

_THEIRS: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9, "markerfacecolor": "white"}
_FLOOR: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}
_CHANCE: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 4}
_DIFFERS: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 5}


class _Row(NamedTuple):
    """A row of panels that compares two columns of `agreement`, the first with an interval."""

    label: str
    own: str
    theirs: str


_ROWS = (
    _Row("Task metric", "m_model", "m_model_published"),
    _Row("Circuit size\n(edges)", "n_edges", "n_edges_published"),
    _Row("Faithfulness\n(circuit / model)", "f_raw", "f_raw_published"),
)
_OVERLAP = "Edges in common\n(Jaccard,\nequal size)"


def agreement_figure(
    agreement: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str], min_step: int
) -> Figure:
    """Draw this run (solid) and the authors' results (dashed), a column of panels per task.

    From top to bottom: the metric of the model, the size and faithfulness of circuits, and the
    overlap of the edges of equally large circuits. Dotted there is the noise floor: the 5 %
    quantile of the overlap of circuits of two halves of the prompts of this run; dashes are the
    overlap by chance. A cross marks circuits that differ by more than the choice of prompts.

    Args:
        agreement: the table of that name.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a column.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    analysed = agreement[agreement["model"].isin(labels)]
    rows = style.drawable(analysed, min_step=min_step)
    looks = style.looks(labels)
    with style.in_style():
        heights = (1.2, 1.2, 1.2, 1.5)
        figure, columns = task_columns(
            tasks, x=style.TOKENS, heights=heights, around=1.3, sharey=False
        )
        for task, panels in columns.items():
            of_task = rows[rows["task"] == task]
            if of_task.empty:
                why = "no step in common" if task not in set(analysed["task"]) else "only step 0"
                for axes in panels:
                    layout.say(axes, why)
                continue
            for axes, row in zip(panels, _ROWS, strict=False):
                _draw_both(axes, of_task, row=row, looks=looks)
            _draw_overlap(panels[-1], of_task, looks=looks)
        first = columns[tasks[0]]
        for axes, label in zip(first, [row.label for row in _ROWS] + [_OVERLAP], strict=True):
            axes.set_ylabel(label)
        models = layout.model_handles(looks.values())
        marks = [*_handles(figure), *layout.interval_handles(figure)]
        return layout.finish(figure, first[-1], models, marks, n_rows=3)


def _draw_both(
    axes: Axes, rows: pd.DataFrame, *, row: _Row, looks: Mapping[str, style.Look]
) -> None:
    for look, line in style.by_model(rows, looks):
        own, theirs = (line[name].astype("float64") for name in (row.own, row.theirs))
        draw_band(axes, line, (f"{row.own}_low", f"{row.own}_high"), look=look)
        how: dict[str, Any] = {"color": look.colour, "marker": look.marker} | thin(len(line))
        axes.plot(line["tokens"], own, label=look.label, **how)
        axes.plot(line["tokens"], theirs, label="_theirs", **how | _THEIRS)
    if row.own == "n_edges":
        known = pd.concat([rows[row.own], rows[row.theirs]]).astype("float64").dropna()
        if (known > 0).any():
            axes.set_yscale("log")
            axes.set_ylim(known[known > 0].min() / 1.4, known.max() * 1.4)
            style.label_log(axes.yaxis)


def _draw_overlap(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    axes.set_ylim(0, 1.05)
    for look, line in style.by_model(rows, looks):
        tokens, overlap = line["tokens"], line["edge_jaccard_matched"]
        how: dict[str, Any] = {"color": look.colour, "marker": look.marker} | thin(len(line))
        axes.plot(tokens, overlap, label=look.label, **how)
        axes.plot(tokens, line["edge_floor_low"], color=look.colour, label="_floor", **_FLOOR)
        chance = {"color": look.colour, "label": "_chance", **_CHANCE}
        axes.plot(tokens, line["edge_jaccard_chance"], **chance)
        beyond = line["edge_differs"].fillna(False).astype(bool)
        differs: dict[str, Any] = {"color": look.colour, "label": "_differs", **_DIFFERS}
        axes.plot(tokens[beyond], overlap[beyond], **differs)


def _handles(figure: Figure) -> list[Artist]:
    """Return a legend entry for each kind of mark."""
    own: dict[str, Any] = {"color": style.GREY}
    known = {
        "_theirs": Line2D([], [], label="published", marker="o", **own, **_THEIRS),
        "_floor": Line2D([], [], label="noise floor (halves of the prompts, 5 %)", **own, **_FLOOR),
        "_chance": Line2D([], [], label="chance", **own, **_CHANCE),
        "_differs": Line2D([], [], label="differs beyond the noise floor", **own, **_DIFFERS),
    }
    return [handle for label, handle in known.items() if layout.has_line(figure, label)]
