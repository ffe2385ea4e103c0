"""How circuits that the search found, or did not find, are drawn over training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from circuitlapse.figures import style
from circuitlapse.figures.grids import thin
from circuitlapse.types import Status

ABSENT: dict[str, Any] = {"marker": "|", "markersize": 5, "linestyle": "none"}
"""The mark of a step without circuit."""
_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}


def draw_line(
    axes: Axes, line: pd.DataFrame, values: pd.Series[float], *, look: style.Look
) -> None:
    """Draw `values` of one model's line, a marker by each status; it breaks without a circuit."""
    size = thin(len(line))
    axes.plot(
        line["tokens"], values, color=look.colour, label=look.label, linewidth=size["linewidth"]
    )
    own: dict[str, Any] = {"marker": look.marker, "color": look.colour}
    own["markersize"] = size["markersize"]
    ring = _RING | {"markersize": _RING["markersize"] / 3.2 * size["markersize"]}
    for status, kinds in {
        Status.OK: [own],
        Status.NOT_REACHED: [own | _HOLLOW],
        Status.OVERSHOOT: [own, ring],
    }.items():
        here = line["status"] == status
        for kind in kinds:
            axes.plot(line["tokens"][here], values[here], linestyle="none", **kind)


def status_handles(statuses: Collection[str]) -> list[Artist]:
    """Return a legend entry for each status that occurs."""
    grey: dict[str, Any] = {"color": style.GREY, "linestyle": "none"}
    marks = {
        Status.OK: Line2D([], [], marker="o", label="faithful circuit", **grey),
        Status.NOT_REACHED: Line2D(
            [], [], marker="o", label="threshold not reached", **grey, **_HOLLOW
        ),
        Status.OVERSHOOT: Line2D([], [], label="overshoots the model", **_RING, linestyle="none"),
        Status.NO_BEHAVIOUR: Line2D(
            [], [], label="no behaviour, no circuit", color=style.GREY, **ABSENT
        ),
    }
    return [handle for status, handle in marks.items() if status in statuses]


def threshold_handle(threshold: float) -> Artist:
    """Return the legend entry of the dashed line at the threshold."""
    return Line2D([], [], color=style.GREY, linestyle="--", label=f"threshold ({threshold:g})")


def no_circuits(analysed: pd.DataFrame, *, min_step: int) -> str:
    """Say why a task has no circuit to draw."""
    if style.drawable(analysed, min_step=min_step).empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    return "no circuits:\nno behaviour"
