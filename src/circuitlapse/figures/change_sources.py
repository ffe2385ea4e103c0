"""Where the change of circuits between neighbouring steps comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.types import Level
from circuitlapse.types.status import ChangeStatus

_ROW_IN = 1.15
_PARTS = {
    "training": ("training", "#0072B2"),
    "prompts": ("other prompts", "#CC79A7"),
    "size_rule": ("size of the circuits", "#BBBBBB"),
    "seed": ("another seed", "#E69F00"),
}
"""Column -> name in the legend and colour, in the order in which bars are stacked."""
_MOST_TICKS = 6


def change_sources_figure(
    change_sources: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str]
) -> Figure:
    """Draw a stacked bar per pair of neighbouring steps, in a panel per model and task.

    The height is the number of halvings of the overlap of edges; a part below 0 made circuits more
    alike. A cross marks a pair whose circuits of equal size have no overlap.

    Args:
        change_sources: the table `change_sources`.
        labels: models to draw and their names, from top to bottom.
        tasks: tasks to draw, from left to right.
    """
    rows = change_sources[change_sources["level"] == Level.EDGE]
    labels = layout.with_rows(labels, rows)
    rows = rows[rows["model"].isin(labels) & rows["task"].isin(tasks)]
    steps = sorted(set(rows["step_next"]))
    with style.in_style():
        size: dict[str, Any] = {"height": _ROW_IN, "gap": 0.1, "sharex": True}
        x, y = "Change up to this training step", "Halvings of overlap"
        figure, panels = layout.model_rows(labels, tasks, x=x, y=y, **size)
        for (model, task), axes in panels.items():
            here = rows[(rows["model"] == model) & (rows["task"] == task)]
            if here.empty:
                layout.say(axes, "fewer than two steps\nwith circuits of halves")
            else:
                _draw(axes, here, steps)
        for axes in panels.values():
            _label(axes, steps)
        layout.make_room_for_names(figure)
        layout.legend_below(figure, _handles(rows))
        return figure


def _draw(axes: Axes, rows: pd.DataFrame, steps: Sequence[int]) -> None:
    at = np.array([steps.index(step) for step in rows["step_next"]])
    above, below = np.zeros(len(rows)), np.zeros(len(rows))
    for part, (_, colour) in _PARTS.items():
        height = rows[part].where(rows["status"] == ChangeStatus.OK).fillna(0.0).to_numpy()
        base = np.where(height >= 0, above, below)
        axes.bar(at, height, bottom=base, color=colour, width=0.8)
        above += np.maximum(height, 0)
        below += np.minimum(height, 0)
    axes.axhline(0, color="black", linewidth=0.4)
    axes.set_ylim(1.08 * below.min(), 1.08 * max(above.max(), 0.05))
    nothing = at[(rows["status"] == ChangeStatus.NO_OVERLAP).to_numpy()]
    axes.plot(nothing, np.zeros(len(nothing)), "x", color="black", markersize=3.5)


def _label(axes: Axes, steps: Sequence[int]) -> None:
    every = max(1, -(-len(steps) // _MOST_TICKS))
    shown = [*range(len(steps))][::-1][::every]
    axes.set_xticks(shown, labels=[style.count_label(float(steps[at])) for at in shown])
    axes.set_xlim(-0.6, len(steps) - 0.4)


def _handles(rows: pd.DataFrame) -> list[Artist]:
    known = [part for part in _PARTS if rows[part].notna().any()]
    handles: list[Artist] = [Patch(color=_PARTS[part][1], label=_PARTS[part][0]) for part in known]
    if (rows["status"] == ChangeStatus.NO_OVERLAP).any():
        look: dict[str, Any] = {"color": "black", "marker": "x", "linestyle": "none"}
        handles.append(Line2D([], [], label="no overlap at equal size", **look))
    return handles
