"""How close the weights of each checkpoint are to those of other steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import layout, style

_SUSPECT: dict[str, Any] = {"marker": "x", "markersize": 5, "linestyle": "none", "color": "black"}
_SUSPECTS = "_suspect"
"""Label of the marks of suspect checkpoints."""
_LINES: Mapping[str, dict[str, Any]] = {
    "cos_previous": {"color": style.COLOURS[0], "marker": "o", "label": "to the step before"},
    "cos_last": {"color": style.COLOURS[1], "marker": "s", "label": "to the last step"},
}


def checkpoints_figure(
    checkpoints: pd.DataFrame, *, run_labels: Mapping[str, str], min_step: int
) -> Figure:
    """Draw the median cosine of all matrices with those of other steps, a panel per model.

    A line that jumps says that a checkpoint does not lie on the path of training between its
    neighbours. Crosses are suspect checkpoints.

    Args:
        checkpoints: the table `checkpoints`.
        run_labels: models to draw and their names, in order.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    models = layout.with_rows(run_labels, checkpoints)
    at = ["model", "step", "tokens", "status"]
    medians = checkpoints.groupby(at, sort=False)[list(_LINES)].median().reset_index()
    with style.in_style():
        figure, panels = layout.panel_grid(list(models))
        for (model, axes), label in zip(panels.items(), models.values(), strict=True):
            axes.set_title(label)
            axes.set_xlabel(style.TOKENS)
            _draw_model(axes, medians[medians["model"] == model], min_step=min_step)
        handles: list[Artist] = [Line2D([], [], **look) for look in _LINES.values()]
        marks = suspect_handles(figure)
        return layout.finish(figure, next(iter(panels.values())), handles, marks)


def _draw_model(axes: Axes, analysed: pd.DataFrame, *, min_step: int) -> None:
    rows = style.drawable(analysed, min_step=min_step)
    axes.set_ylabel("Median cosine of matrices")
    if rows.empty:
        return layout.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    low = float(rows[list(_LINES)].min().min())
    if np.isnan(low):
        return layout.say(axes, "only one checkpoint")
    for column, look in _LINES.items():
        axes.plot(rows["tokens"], rows[column], **look)
    room = 0.06 * (1.0 - low) + 0.001
    axes.set_ylim(low - room, 1.0 + room)
    suspect = rows["status"] == "suspect"
    return mark_suspects(axes, rows[suspect], rows.loc[suspect, "cos_last"])


def mark_suspects(axes: Axes, rows: pd.DataFrame, values: pd.Series[float]) -> None:
    """Mark the `values` of rows about suspect checkpoints; without any, draw nothing."""
    if values.notna().any():
        axes.plot(rows["tokens"], values, label=_SUSPECTS, zorder=4, **_SUSPECT)


def suspect_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of these marks, if a panel has one."""
    if not layout.has_line(figure, _SUSPECTS):
        return []
    return [Line2D([], [], label="suspect checkpoint", **_SUSPECT)]
