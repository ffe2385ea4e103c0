"""The legend under the panels of a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures.style import GREY, INTERVAL_BAR, LABEL_SIZE, WIDTH_IN, Look
from circuitlapse.figures.text import text_width, wrap


def model_handles(models: Iterable[Look]) -> list[Artist]:
    """Return one legend entry per model."""
    return [Line2D([], [], color=m.colour, marker=m.marker, label=m.label) for m in models]


def has_line(figure: Figure, label: str) -> bool:
    """Return whether a panel of `figure` has a line with this label."""
    return any(line.get_label() == label for axes in figure.axes for line in axes.lines)


def interval_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of the intervals, if there are any in the figure."""
    label = "bootstrap interval"
    if any(axes.collections for axes in figure.axes):
        return [Patch(color=GREY, alpha=0.25, linewidth=0, label=label)]
    if has_line(figure, INTERVAL_BAR):
        bar: dict[str, Any] = {"marker": "|", "markersize": 8, "linestyle": "none"}
        return [Line2D([], [], color=GREY, label=label, **bar)]
    return []


def legend_below(figure: Figure, *groups: Sequence[Artist], n_rows: int = 1) -> None:
    """Put one legend under all panels, each group in columns of its own.

    It has at most five columns, and as few rows, from `n_rows` up, as fit into the width. Where
    they are many, the figure grows.
    """
    for handle in chain.from_iterable(groups):
        handle.set_label(wrap(str(handle.get_label()), 0.4 * 72 * WIDTH_IN, size=LABEL_SIZE))
    tallest = max(len(group) for group in groups)
    entries, rows = next(
        (entries, rows)
        for rows in count(n_rows)
        for entries in [in_columns(*groups, n_rows=rows)]
        if rows >= tallest or _fits_below(entries, n_rows=rows)
    )
    lines = sum(str(entry.get_label()).count("\n") + 1 for entry in entries[:rows])
    figure.set_figheight(figure.get_figheight() + 0.16 * max(0, lines - 3))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries) // rows)


def _fits_below(entries: Sequence[Artist], *, n_rows: int) -> bool:
    columns = [entries[start : start + n_rows] for start in range(0, len(entries), n_rows)]
    widths = [max(_entry_width(entry) for entry in column) for column in columns]
    return len(columns) <= 5 and sum(widths) <= 72 * WIDTH_IN


def _entry_width(entry: Artist) -> float:
    """Return the width in points of an entry's text, its line or patch, and the space around."""
    lines = str(entry.get_label()).split("\n")
    return max(text_width(line, LABEL_SIZE) for line in lines) + 5 * LABEL_SIZE


def in_columns(*groups: Sequence[Artist], n_rows: int) -> list[Artist]:
    """Return legend entries such that each group starts a column of `n_rows` entries."""
    blank = Line2D([], [], linestyle="none", label=" ")
    padded = [[*group, *[blank] * (-len(group) % n_rows)] for group in groups]
    return list(chain.from_iterable(padded))
