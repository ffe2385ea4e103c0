"""The graph of roles in the IOI algorithm, as a heat map per model and step."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.figures.heatmap import bar_beside
from circuitlapse.types import LOGITS
from circuitlapse.types.status import RoleGraphStatus

_ROW_IN = 0.17
_BEYOND: dict[str, Any] = {"weight": "bold"}
_UNKNOWN = "#e6e6e6"
_LEAST = 0.005
"""Smaller effects are 0.00 in a cell, and not written."""
_WHY = {
    RoleGraphStatus.NO_BEHAVIOUR: "the model does not do the task",
    RoleGraphStatus.NO_SOURCE: "no head has a role",
}


def role_graph_figure(role_graph: pd.DataFrame, *, labels: Mapping[str, str]) -> Figure:
    """Draw the effect of each source (rows) on each target (columns), a row of panels per model.

    The left panel is the middle one of the steps with a measured edge, the right one the last. Blue
    is an effect that helps the answer, red one that harms it, grey an edge that is not defined.
    Bold numbers have an interval outside the effects of random heads.

    Args:
        role_graph: the table `role_graph`.
        labels: models to draw and their names; each has a row.
    """
    rows = role_graph[role_graph["model"].isin(list(labels))]
    columns = list(dict.fromkeys(map(tuple, role_graph[["target", "port"]].to_numpy())))
    columns.sort(key=lambda end: end[0] != LOGITS)
    sources = list(dict.fromkeys(role_graph["source"]))
    colours = ScalarMappable(TwoSlopeNorm(0.0, -1.0, 1.0), "RdBu_r")
    with style.in_style():
        height = (_ROW_IN * max(len(sources), 4) + 0.45) * len(labels) + 0.6
        figure = Figure(figsize=(style.WIDTH_IN, height), layout="constrained")
        grid = figure.subplots(len(labels), 2, squeeze=False)
        for (model, label), panels in zip(labels.items(), grid, strict=True):
            own = rows[rows["model"] == model]
            panels[0].set_ylabel(style.wrap(label, 72 * _ROW_IN * 8, size=style.LABEL_SIZE))
            for axes, step in zip(panels, _steps(own), strict=True):
                _dress(axes, sources, columns)
                if step is None:
                    layout.say(axes, _why_empty(own))
                    continue
                axes.set_title(f"step {step}")
                _draw(axes, own[own["step"] == step], sources, columns, colours=colours)
        bar_beside(figure, colours, list(grid.flat), label="Effect (share of the drop)")
        undefined = Patch(facecolor=_UNKNOWN, label="no such heads, or no path")
        layout.legend_below(figure, [undefined])
        return figure


def _steps(rows: pd.DataFrame) -> tuple[int | None, int | None]:
    """Return the middle one of the steps with a measured edge, and the last one."""
    steps = [int(step) for step in sorted(rows.loc[_is_measured(rows), "step"].unique())]
    last = steps[-1] if steps else None
    return (steps[(len(steps) - 1) // 2] if len(steps) > 1 else None), last


def _is_measured(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["status"] == RoleGraphStatus.OK


def _why_empty(rows: pd.DataFrame) -> str:
    if rows.empty:
        return layout.NO_TASK
    if _is_measured(rows).any():
        return "no other step\nhas a measured edge"
    known = [words for status, words in _WHY.items() if (rows["status"] == status).any()]
    return known[-1] if known else "no edge is defined"


def _dress(axes: Axes, sources: list[str], columns: list[tuple[str, str]]) -> None:
    axes.set_xlim(-0.5, max(len(columns), 1) - 0.5)
    axes.set_ylim(max(len(sources), 1) - 0.5, -0.5)
    names = [f"{target}\n{port}" if port else target for target, port in columns]
    axes.set_xticks(range(len(columns)), names)
    axes.set_yticks(range(len(sources)), sources)
    axes.tick_params(length=0)


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    sources: list[str],
    columns: list[tuple[str, str]],
    *,
    colours: ScalarMappable,
) -> None:
    edges = np.arange(len(columns) + 1) - 0.5, np.arange(len(sources) + 1) - 0.5
    values = np.full((len(sources), len(columns)), np.nan)
    places = [
        (sources.index(row["source"]), columns.index((row["target"], row["port"])))
        for row in rows.to_dict("records")
    ]
    values[tuple(np.transpose(places))] = rows["effect"]
    axes.set_facecolor(_UNKNOWN)
    shown: dict[str, Any] = {"cmap": colours.cmap, "norm": colours.norm, "rasterized": True}
    axes.pcolormesh(*edges, np.ma.masked_invalid(values), **shown)
    for (down, across), row in zip(places, rows.to_dict("records"), strict=True):
        if not abs(row["effect"]) >= _LEAST:  # nor where it is NaN
            continue
        look: dict[str, Any] = {"ha": "center", "va": "center", "size": style.SIZE}
        look |= {"color": "white" if abs(row["effect"]) > 0.6 else "black"}
        look |= _BEYOND if _is_beyond(row) else {}
        axes.text(across, down, _number(row["effect"]), **look)


def _number(effect: float) -> str:
    """Return a number that is narrow enough for a cell."""
    return f"{effect:.1f}" if abs(effect) >= 0.995 else f"{effect:.2f}".replace("0.", ".", 1)


def _is_beyond(row: Mapping[Hashable, Any]) -> bool:
    """Return whether the interval is outside what random heads do, or 0 where there are none."""
    low, high = np.nan_to_num([row["null_low"], row["null_high"]])
    return bool(row["effect_high"] < low or row["effect_low"] > high)
