"""How much of the direct effect of a role others make up for, over training."""

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
from circuitlapse.types import ROLE_TITLES
from circuitlapse.types.status import SelfRepairStatus

LIMIT = 1.0
"""Shares further from 0 are drawn at the edge."""
_N_COLUMNS = 4
_NULL: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0, "zorder": 1.5}
_NULL_LABEL = "_random"
_EDGE: dict[str, Any] = {"marker": "v", "markersize": 4, "markerfacecolor": "white"}
_EDGE |= {"linestyle": "none", "label": "_beyond"}
_WHY = {
    SelfRepairStatus.NO_BEHAVIOUR: "the model does not do the task",
    SelfRepairStatus.TOO_FEW_PROMPTS: "too few prompts of equal length",
    SelfRepairStatus.NO_HEADS: "no head has the role",
    SelfRepairStatus.NO_EFFECT: "no direct effect on the logits",
}
"""Why nothing is drawn; the later, the more was measured."""


def self_repair_figure(
    self_repair: pd.DataFrame, *, labels: Mapping[str, str], min_step: int
) -> Figure:
    """Draw the repaired share of the direct effect of each role, a panel per role.

    At 1, others make up for all of it, at 0 for nothing; below 0 they add to the harm. Shaded areas
    are intervals; dotted is the mean of random heads of the same layers.

    Args:
        self_repair: the table `self_repair`.
        labels: models to draw and their names, in the order of the legend.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    table = self_repair[self_repair["model"].isin(list(labels))]
    looks = style.looks(labels)
    n_rows = -(-len(ROLE_TITLES) // _N_COLUMNS)
    with style.in_style():
        size = (style.WIDTH_IN, 1.75 * n_rows + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_rows, _N_COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes, role in zip(grid.flat, ROLE_TITLES, strict=False):
            _dress(axes, ROLE_TITLES[role], first=axes in grid[:, 0])
            analysed = table[table["role"] == role]
            rows = style.drawable(analysed, min_step=min_step)
            if rows["repaired"].isna().all():
                layout.say(axes, _why_empty(analysed, rows, min_step=min_step))
                continue
            for look, line in style.by_model(rows, looks):
                _draw(axes, line, look=look)
            layout.note(axes, layout.n_prompts(rows))
        for unused in grid.flat[len(ROLE_TITLES) :]:
            unused.set_visible(False)
        models = layout.model_handles(looks.values())
        marks = [*layout.interval_handles(figure), *_handles(figure)]
        return layout.finish(figure, grid[0, 0], models, marks)


def _dress(axes: Axes, title: str, *, first: bool) -> None:
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_ylim(-1.12 * LIMIT, 1.35 * LIMIT)
    axes.set_yticks(np.linspace(-LIMIT, LIMIT, 5))
    axes.axhline(0, **style.THIN)
    axes.tick_params(labelbottom=True)
    axes.set_xlabel(style.across(style.TOKENS, _N_COLUMNS, size=style.LABEL_SIZE))
    axes.set_ylabel("Repaired share of\nthe direct effect" if first else "")


def _draw(axes: Axes, line: pd.DataFrame, *, look: style.Look) -> None:
    """Draw the line of one model, its interval, and that of random heads."""
    names = ["repaired", "repaired_low", "repaired_high", "null_repaired_mean"]
    inside = line.assign(**{name: line[name].clip(-LIMIT, LIMIT) for name in names})
    layout.draw_band(axes, inside, ("repaired_low", "repaired_high"), look=look)
    own: dict[str, Any] = {"color": look.colour, "label": look.label, "marker": look.marker}
    axes.plot(line["tokens"], inside["repaired"], **own, **layout.thin(len(line)))
    null: dict[str, Any] = {"color": look.colour, "label": _NULL_LABEL, "marker": ""} | _NULL
    if line["null_repaired_mean"].notna().any():
        axes.plot(line["tokens"], inside["null_repaired_mean"], **null)
    beyond = line["repaired"].abs() > LIMIT
    if beyond.any():
        axes.plot(line["tokens"][beyond], inside["repaired"][beyond], color=look.colour, **_EDGE)


def _handles(figure: Figure) -> list[Artist]:
    """Return a legend entry for each kind of mark that is in the figure."""
    grey: dict[str, Any] = {"color": style.GREY}
    marks = {
        _NULL_LABEL: Line2D([], [], label="random heads of the same layers", **grey, **_NULL),
        str(_EDGE["label"]): Line2D([], [], **grey, **_EDGE | {"label": "beyond the axis"}),
    }
    return [handle for label, handle in marks.items() if layout.has_line(figure, label)]


def _why_empty(analysed: pd.DataFrame, rows: pd.DataFrame, *, min_step: int) -> str:
    if analysed.empty:
        return layout.NO_TASK
    if rows.empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    return [words for status, words in _WHY.items() if (rows["status"] == status).any()][-1]
