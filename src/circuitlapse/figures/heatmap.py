"""Parts of heat maps of faithfulness: colours, cells without a value, colour bar, legend."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy import ndarray

from circuitlapse.figures.style import LABEL_SIZE, SIZE, text_width, wrap
from circuitlapse.types.status import TransferStatus

TOP = 1.2
"""Faithfulness at the upper end of the colour scale; the lower end is 0."""
_GAP = 4.0
"""Smallest distance between two labels along an axis, in points."""
_LOW, _AT, _HIGH = ("#08519c", "#8fc1de"), "#fff2bf", ("#f6a04d", "#b8430a")
"""Colours from 0 up to the threshold, at it, and from there up to `TOP`."""
_UNDER, _OVER = "#555555", "#661a00"
_HATCHES = {
    TransferStatus.NO_CIRCUIT: "////",
    TransferStatus.NO_BEHAVIOUR: "\\\\\\\\",
    "other": "xxxx",
    "absent": "",
}
_REASONS = {
    TransferStatus.NO_CIRCUIT: "no circuit was found",
    TransferStatus.NO_BEHAVIOUR: "the model does not do the task",
    "other": "not defined",
    "absent": "not measured",
}
_FAITHFUL = "_faithful"
_BORDER: dict[str, Any] = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.2}
_BAR_IN = (0.13, 3.5)
"""Width and greatest length of a colour bar."""


class Cells(NamedTuple):
    """A matrix of faithfulness, and why it has holes."""

    values: Float[ndarray, "row column"]
    """NaN where undefined."""
    reasons: ndarray
    """Same shape: a key of the hatches, or "" where there is a value."""


def cells(table: pd.DataFrame, *, rows: Sequence[Hashable], columns: Sequence[Hashable]) -> Cells:
    """Lay out the rows of `table`, with columns `row`, `column`, `f_raw` and `status`."""
    at = tuple(
        table[of].map({name: place for place, name in enumerate(names)}).to_numpy()
        for names, of in ((rows, "row"), (columns, "column"))
    )
    values = np.full((len(rows), len(columns)), np.nan)
    values[at] = table["f_raw"]
    reasons = np.full(values.shape, "absent", dtype=object)
    known = table["status"].where(table["status"].isin(_REASONS), "other")
    reasons[at] = known.where(table["f_raw"].isna(), "")
    return Cells(values, reasons)


def faithfulness_colours(threshold: float) -> ScalarMappable:
    """Return blues below the threshold and oranges above, from 0 to `TOP`.

    Colours get paler towards the threshold on both sides, so that similar values look similar.
    Below 0 everything is dark grey, above `TOP` dark brown.
    """
    share = min(max(threshold / TOP, 0.01), 0.99)
    stops = [
        *((0.0, _LOW[0]), (share / 2, _LOW[1]), (share, _AT)),
        *(((1 + share) / 2, _HIGH[0]), (1.0, _HIGH[1])),
    ]
    colours = LinearSegmentedColormap.from_list("faithfulness", stops, N=480)
    clipped = colours.with_extremes(under=_UNDER, over=_OVER)
    return ScalarMappable(Normalize(0.0, TOP), clipped)


def draw_cells(axes: Axes, drawn: Cells, *, colours: ScalarMappable) -> None:
    """Draw a square of side 1 per cell, the first row at the bottom; no value is hatched."""
    n_rows, n_columns = drawn.values.shape
    edges = np.arange(n_columns + 1) - 0.5, np.arange(n_rows + 1) - 0.5
    shown: dict[str, Any] = {"cmap": colours.cmap, "norm": colours.norm, "rasterized": True}
    axes.pcolormesh(*edges, np.ma.masked_invalid(drawn.values), **shown)
    for reason in _HATCHES:
        here = drawn.reasons == reason
        if here.any():
            axes.add_patch(PathPatch(_outline(here), label=reason, **_fill(reason)))


def outline_faithful(axes: Axes, drawn: Cells, *, threshold: float) -> None:
    """Draw a line around the cells whose value is at least `threshold`."""
    above = np.pad(drawn.values >= threshold, 1)
    lines = []
    for row, column in np.argwhere(above[:-1] != above[1:]) - (0, 1):
        lines.append([(column - 0.5, row - 0.5), (column + 0.5, row - 0.5)])
    for row, column in np.argwhere(above[:, :-1] != above[:, 1:]) - (1, 0):
        lines.append([(column - 0.5, row - 0.5), (column - 0.5, row + 0.5)])
    if lines:
        border = Path.make_compound_path(*(Path(line) for line in lines))
        axes.add_patch(PathPatch(border, label=_FAITHFUL, clip_on=False, **_BORDER))


def faithful_handles(figure: Figure, *, threshold: float) -> list[Artist]:
    """Return the legend entry of that line, if the figure has one."""
    there = any(patch.get_label() == _FAITHFUL for axes in figure.axes for patch in axes.patches)
    return [Patch(label=f"at least {threshold:g}", **_BORDER)] if there else []


def frame_cells(axes: Axes, *, n_rows: int, n_columns: int) -> None:
    """Make a panel a square with room for so many cells, and close its frame."""
    axes.set_box_aspect(1)
    axes.set_xlim(-0.5, max(n_columns, 1) - 0.5)
    axes.set_ylim(-0.5, max(n_rows, 1) - 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


def write_values(axes: Axes, drawn: Cells, *, colours: ScalarMappable, width: float) -> None:
    """Write each value into its cell, `width` points wide, light on dark colours."""
    for (row, column), value in np.ndenumerate(drawn.values):
        if np.isfinite(value):
            red, green, blue, _ = colours.to_rgba(value)
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
            place: dict[str, Any] = {"ha": "center", "va": "center"}
            text = _number(value, width)
            axes.text(column, row, text, color="white" if dark else "black", **place)


def _number(value: float, width: float) -> str:
    """Return a number with up to two decimals, as many as fit."""
    texts = [f"{round(value, digits) + 0.0:.{digits}f}" for digits in (2, 1, 0)]
    return next((text for text in texts if text_width(text, SIZE) <= width - 5), texts[-1])


def _outline(here: Bool[ndarray, "row column"]) -> Path:
    """Return one rectangle per run of true cells in a row."""
    ends = np.diff(np.pad(here.astype(int), ((0, 0), (1, 1))), axis=1)
    starts, stops = np.argwhere(ends == 1), np.argwhere(ends == -1)
    rectangles = []
    for (row, left), (_, right) in zip(starts, stops, strict=True):
        corners = np.array([(left, row), (right, row), (right, row + 1), (left, row + 1)]) - 0.5
        rectangles.append(Path(np.vstack([corners, corners[:1]]), closed=True))
    return Path.make_compound_path(*rectangles)


def reason_handles(figure: Figure) -> list[Artist]:
    """Return a legend entry for each reason for which a cell of the figure is hatched."""
    there = {patch.get_label() for axes in figure.axes for patch in axes.patches}
    return [
        Patch(label=words, **_fill(reason) | {"linewidth": 0.4})
        for reason, words in _REASONS.items()
        if reason in there
    ]


def _fill(reason: str) -> dict[str, Any]:
    """Return how cells without a value are filled; white where nothing was measured."""
    face = "white" if reason == "absent" else "#e6e6e6"
    return {
        "facecolor": face,
        "edgecolor": "#8c8c8c",
        "linewidth": 0.0,
        "hatch": _HATCHES[reason] or None,
    }


def colour_bar(
    figure: Figure, colours: ScalarMappable, panels: Sequence[Axes], *, threshold: float
) -> None:
    """Draw the colour scale of faithfulness beside the panels, with a line at the threshold."""
    bar = bar_beside(figure, colours, panels, label="Faithfulness (circuit / model)", extend="both")
    bar.set_ticks([0.0, *{threshold, 1.0} - {0.0}])
    bar.ax.axhline(threshold, color="black", linewidth=1.2)


def bar_beside(
    figure: Figure,
    colours: ScalarMappable,
    panels: Sequence[Axes],
    *,
    label: str,
    extend: str = "neither",
) -> Colorbar:
    """Draw a colour bar of moderate length beside the panels, and return it."""
    width, longest = _BAR_IN
    length = min(longest, 0.8 * figure.get_figheight())
    size: dict[str, Any] = {"shrink": length / figure.get_figheight(), "aspect": length / width}
    bar = figure.colorbar(colours, ax=list(panels), extend=extend, pad=0.02, **size)
    bar.set_label(wrap(label, 0.9 * 72 * length, size=LABEL_SIZE))
    bar.outline.set_linewidth(0.6)
    return bar


def label_cells(axes: Axes, names: Sequence[str], *, along: str, length: float) -> None:
    """Label as many of the rows (`along` "y") or columns ("x") as fit into `length` points.

    The labelled ones are evenly spaced and count from the last.
    """
    extents = [text_width(name, SIZE) for name in names] if along == "x" else [SIZE]
    stride = int(np.ceil((max(extents, default=0) + _GAP) * len(names) / length)) or 1
    at = range(len(names) - 1, -1, -stride)
    axis = axes.xaxis if along == "x" else axes.yaxis
    axis.set_ticks(list(at), [names[index] for index in at])
