"""What all figures share: size, type, one colour and marker per model, axes, legend."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, ScalarFormatter
from numpy import ndarray

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.text import FONT, text_width, wrap
from circuitlapse.figures.ticks import SIZE

WIDTH_IN = 7.0
"""Width of a figure that spans two columns; text below is in points at this size."""
TITLE_SIZE = 8.0
LABEL_SIZE = 7.5

# Okabe and Ito 2008, without yellow, which is too faint for a line on white. Seven colours
# and eight markers have no common divisor, so 56 models differ.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GREY = "#666666"

TOKENS = "Training data (tokens)"
TASK_TITLES = {
    "ioi": "Indirect object identification (IOI)",
    "gendered_pronoun": "Gendered pronoun (GP)",
    "greater_than": "Greater-than (GT)",
    "sva": "Subject-verb agreement (SVA)",
}
_BAR = "_interval"
"""Label of the bars of isolated points; matplotlib keeps what starts like this off legends."""
NO_TASK = "no such task in this run"
"""What a panel says that is about a task which the configuration does not have."""
METRIC_TITLES = {"logit_diff": "Logit difference", "prob_diff": "Probability difference"}

_RC: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": SIZE,
    "axes.titlesize": TITLE_SIZE,
    "axes.labelsize": LABEL_SIZE,
    "xtick.labelsize": SIZE,
    "ytick.labelsize": SIZE,
    "legend.fontsize": LABEL_SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


class Look(NamedTuple):
    """How a model is drawn, in every figure."""

    label: str
    colour: str
    marker: str


def looks(labels: Mapping[str, str]) -> dict[str, Look]:
    """Give each model (key) of `labels` (value: its name in legends) a colour and a marker."""
    models = zip(labels.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    return {model: Look(label, colour, marker) for (model, label), colour, marker in models}


@contextmanager
def in_style() -> Iterator[None]:
    """Apply the shared style, and nobody's own, to all that is drawn or saved within."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save as PDF (embedded TrueType fonts) or PNG (200 dpi); the same figure, the same bytes."""
    undated = {"CreationDate": None} if Path(path).suffix == ".pdf" else {}
    with in_style():
        figure.savefig(path, metadata=undated)


def task_title(task: str) -> str:
    """Return the task's name in words; an unknown one keeps the user's spelling."""
    return TASK_TITLES.get(task, task.replace("_", " "))


def task_short(task: str) -> str:
    """Return the abbreviation in the task's title; an unknown one keeps the user's spelling."""
    found = re.search(r"\((\w+)\)$", task_title(task))
    return found[1] if found else task_title(task)


def across(text: str, n_columns: int, *, size: float) -> str:
    """Break text that stands above or below one of `n_columns` panels side by side."""
    return wrap(text, 0.68 * 72 * WIDTH_IN / n_columns, size=size)


def inside(text: str, axes: Axes) -> str:
    """Break text that stands in a panel, line by line; axis labels take their share of it."""
    spec = axes.get_subplotspec()
    width = 0.62 * 72 * WIDTH_IN / (spec.get_gridspec().ncols if spec else 1)
    return "\n".join(wrap(line, width, size=SIZE) for line in text.split("\n"))


def metric_title(rows: pd.DataFrame) -> str:
    """Return the metric of `rows` and its unit, for an axis."""
    metric, unit = rows[["metric", "unit"]].iloc[0]
    return f"{METRIC_TITLES.get(metric, metric.replace('_', ' ').capitalize())}\n({unit})"


def side_by_side(n_panels: int) -> int:
    """Return how many of `n_panels` stand in a row: at most three, and two by two of four."""
    return 2 if n_panels == 4 else min(n_panels, 3)


def panel_grid(tasks: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one titled panel per task, at most three side by side.

    They share their x axis, which is logarithmic.
    """
    n_columns = side_by_side(len(tasks))
    n_rows = math.ceil(len(tasks) / n_columns)
    figure = Figure(figsize=(WIDTH_IN, 2.1 * n_rows + 0.4), layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=True).flat)
    for task, axes in zip(tasks, grid, strict=False):
        axes.set_title(across(task_title(task), n_columns, size=TITLE_SIZE))
        axes.tick_params(labelbottom=True)
        axes.set_xscale("log")
    for unused in grid[len(tasks) :]:
        unused.set_visible(False)
    return figure, dict(zip(tasks, grid, strict=False))


def drawable(rows: pd.DataFrame, *, min_step: int) -> pd.DataFrame:
    """Keep the steps from `min_step` on that a log axis can show (step 0 has no place there)."""
    return rows[(rows["step"] >= min_step) & (rows["tokens"] > 0)]


def of_one_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` if all of its circuits were found in one way.

    Raises:
        ArtifactError: if there are several, for their lines would run into each other.
    """
    ways = table[["method", "ig_steps"]].drop_duplicates()
    if len(ways) > 1:
        found = ", ".join(
            f"{method} (ig_steps {steps})" for method, steps in ways.itertuples(False)
        )
        raise ArtifactError(f"circuits were found in several ways: {found}; draw one at a time")
    return table


def nothing_to_show(rows: pd.DataFrame, *, min_step: int) -> str:
    """Say why no row of a task is `drawable`."""
    if rows.empty:
        return "not analysed"
    if rows["step"].max() == 0:
        return "only step 0, which a logarithmic axis cannot show"
    return f"only steps before {min_step}"


def draw_band(axes: Axes, line: pd.DataFrame, limits: tuple[str, str], *, look: Look) -> None:
    """Shade the interval between two columns of one model's line.

    A point without neighbours, between which nothing could be shaded, gets a bar.
    """
    low, high = (line[name].to_numpy(dtype=float) for name in limits)
    tokens, known = line["tokens"].to_numpy(), np.isfinite(low) & np.isfinite(high)
    lone = without_neighbours(known)
    if (known & ~lone).any():
        axes.fill_between(tokens, low, high, color=look.colour, alpha=0.2, linewidth=0)
    if lone.any():
        gaps = np.full(lone.sum(), np.nan)
        ends = np.stack([low[lone], high[lone], gaps], axis=1).ravel()
        bar: dict[str, Any] = {"linewidth": 0.8, "label": _BAR}
        axes.plot(np.repeat(tokens[lone], 3), ends, color=look.colour, **bar)


def without_neighbours(known: Bool[ndarray, " step"]) -> Bool[ndarray, " step"]:
    """Return which known points a line does not show, for those beside them are not known."""
    padded = np.concatenate([[False], known, [False]])
    alone: ndarray = known & ~padded[:-2] & ~padded[2:]
    return alone


def say(axes: Axes, text: str) -> None:
    """Write `text` in the middle of a panel that has nothing to show."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, inside(text, axes), color=GREY, bbox=box, **place)


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


def say_n(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the number of prompts in the upper left corner, where curves that rise are not."""
    note(axes, n_prompts(rows))


def note(axes: Axes, text: str) -> None:
    """Write `text` in the upper left corner."""
    axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", color=GREY)


def make_room(axes: Axes, *, n_lines: int) -> None:
    """Raise the upper end of a panel by the height of some lines of text."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * n_lines * (high - low))


def n_prompts(rows: pd.DataFrame) -> str:
    """Return for instance "n = 200", or the range where it differs between rows."""
    low, high = rows["n"].min(), rows["n"].max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def model_handles(models: Iterable[Look]) -> list[Artist]:
    """Return one legend entry per model."""
    return [Line2D([], [], color=m.colour, marker=m.marker, label=m.label) for m in models]


def interval_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of the intervals, if there are any in the figure."""
    label = "bootstrap interval"
    if any(axes.collections for axes in figure.axes):
        return [Patch(color=GREY, alpha=0.25, linewidth=0, label=label)]
    if any(line.get_label() == _BAR for axes in figure.axes for line in axes.lines):
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
