"""Words in panels, and panels without data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, ScalarFormatter

from circuitlapse.figures.style import GREY, WIDTH_IN
from circuitlapse.figures.text import wrap
from circuitlapse.figures.ticks import SIZE

NO_TASK = "no such task in this run"
"""What a panel says that is about a task which the configuration does not have."""


def inside(text: str, axes: Axes) -> str:
    """Break text that stands in a panel, line by line; axis labels take their share of it."""
    spec = axes.get_subplotspec()
    width = 0.62 * 72 * WIDTH_IN / (spec.get_gridspec().ncols if spec else 1)
    return "\n".join(wrap(line, width, size=SIZE) for line in text.split("\n"))


def say(axes: Axes, text: str) -> None:
    """Write `text` in the middle of a panel that has nothing to show."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, inside(text, axes), color=GREY, bbox=box, **place)


def say_n(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the number of prompts in the upper left corner, where curves that rise are not."""
    note(axes, n_prompts(rows))


def note(axes: Axes, text: str) -> None:
    """Write `text` in the upper left corner."""
    axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", color=GREY)


def n_prompts(rows: pd.DataFrame) -> str:
    """Return for instance "n = 200", or the range where it differs between rows."""
    return f"n = {low_to_high(rows['n'])}"


def low_to_high(numbers: pd.Series[Any]) -> str:
    """Return the smallest and the largest number, such as "1 to 3"; one if they are the same."""
    low, high = numbers.min(), numbers.max()
    return f"{low}" if low == high else f"{low} to {high}"


def make_room(axes: Axes, *, n_lines: int) -> None:
    """Raise the upper end of a panel by the height of some lines of text."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * n_lines * (high - low))


def hide_empty_axes(figure: Figure) -> None:
    """Take ticks off each axis along which nothing is drawn, in no panel that shares it.

    Its numbers would be invented. Without data in one of its panels, a shared axis is that of
    the others, and stays; and so does one whose ticks have names.
    """
    for axes in figure.axes:
        for along, shared in (("x", axes.get_shared_x_axes()), ("y", axes.get_shared_y_axes())):
            axis = axes.xaxis if along == "x" else axes.yaxis
            panels = shared.get_siblings(axes)
            ends = [getattr(panel.dataLim, f"interval{along}") for panel in panels]
            if not (np.isfinite(ends).all(axis=1).any() or _has_names(axis)):
                sides = ("bottom", "labelbottom") if along == "x" else ("left", "labelleft")
                axis.set_tick_params(which="both", **dict.fromkeys(sides, False))


def _has_names(axis: Axis) -> bool:
    fixed = isinstance(axis.get_major_locator(), FixedLocator)
    return fixed and not isinstance(axis.get_major_formatter(), ScalarFormatter)
