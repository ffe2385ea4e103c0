"""When tasks and components emerge in every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import layout, style
from circuitlapse.heads.registry import SCORES
from circuitlapse.types import Kind
from circuitlapse.types.status import EmergenceStatus

_ROW_IN = 0.24
_WHY = {
    EmergenceStatus.NO_RISE: "no rise",
    EmergenceStatus.AT_CHANCE: "at chance",
    EmergenceStatus.TOO_FEW_STEPS: "one step",
}
_APART = 0.7
"""Share of the height of a row over which the marks of models are spread."""


def emergence_figure(emergence: pd.DataFrame, *, labels: Mapping[str, str]) -> Figure:
    """Draw the tokens at half of the rise, a row per task (left) and per component (right).

    There is a mark per model, with its interval. The left edge says why there is none.

    Args:
        emergence: the table `emergence`.
        labels: models to draw and their names, in the order of the legend.
    """
    rows = emergence[emergence["model"].isin(list(labels))]
    looks = style.looks(labels)
    names = {kind: list(dict.fromkeys(rows.loc[rows["kind"] == kind, "name"])) for kind in Kind}
    with style.in_style():
        height = _ROW_IN * max(4, *(len(found) for found in names.values()))
        figure = Figure(figsize=(style.WIDTH_IN, height + 1.0), layout="constrained")
        panels = figure.subplots(1, len(Kind), sharex=True)
        for axes, (kind, found) in zip(panels, names.items(), strict=True):
            axes.set_xscale("log")
            axes.set_xlabel(style.TOKENS)
            if not found:
                layout.say(axes, f"no {kind} was analysed")
                continue
            _draw(axes, rows[rows["kind"] == kind], names=found, looks=looks)
        return layout.finish(figure, panels[0], layout.model_handles(looks.values()))


def _draw(
    axes: Axes, rows: pd.DataFrame, *, names: list[str], looks: Mapping[str, style.Look]
) -> None:
    titles = [SCORES[name].title if name in SCORES else style.task_short(name) for name in names]
    axes.set_yticks(range(len(names)), labels=titles)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    for border in range(1, len(names)):
        axes.axhline(border - 0.5, color=style.GREY, linewidth=0.3)
    for place, (model, look) in enumerate(looks.items()):
        shift = ((place + 0.5) / len(looks) - 0.5) * _APART
        own = rows[rows["model"] == model].set_index("name").reindex(names)
        height = pd.Series(range(len(names)), index=own.index) + shift
        known = own["tokens_half"].notna()
        mark: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
        axes.plot(own.loc[known, "tokens_half"], height[known], markersize=3.5, **mark)
        low, high = own.loc[known, "tokens_half_low"], own.loc[known, "tokens_half_high"]
        axes.hlines(height[known], low, high, color=look.colour, linewidth=1.0)
        edge: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "size": 5}
        for at, status in zip(height, own["status"], strict=True):
            axes.text(0.01, at, _WHY.get(status, ""), color=look.colour, **edge)
