"""What all figures share: size, type, one colour and marker per model, axes, legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from circuitlapse.errors import ArtifactError

WIDTH_IN = 7.0
"""Width of a figure that spans two columns; text below is in points at this size."""

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
METRIC_TITLES = {"logit_diff": "Logit difference", "prob_diff": "Probability difference"}

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
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
    """Return the task's name in words; an unknown one is made from its identifier."""
    return TASK_TITLES.get(task, task.replace("_", " ").capitalize())


def metric_title(rows: pd.DataFrame) -> str:
    """Return the metric of `rows` and its unit, for an axis."""
    metric, unit = rows[["metric", "unit"]].iloc[0]
    return f"{METRIC_TITLES.get(metric, metric.replace('_', ' ').capitalize())}\n({unit})"


def panel_grid(tasks: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one titled panel per task, at most three side by side.

    They share their x axis, which is logarithmic.
    """
    n_columns = 2 if len(tasks) == 4 else min(len(tasks), 3)
    n_rows = math.ceil(len(tasks) / n_columns)
    figure = Figure(figsize=(WIDTH_IN, 2.1 * n_rows + 0.4), layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=True).flat)
    for task, axes in zip(tasks, grid, strict=False):
        axes.set_title(task_title(task))
        axes.tick_params(labelbottom=True)
        axes.set_xscale("log")
    for unused in grid[len(tasks) :]:
        unused.set_visible(False)
    return figure, dict(zip(tasks, grid, strict=False))


def label_log(axis: Axis) -> None:
    """Label a logarithmic axis; call it when all panels that share the axis are drawn.

    Powers of ten are labelled, below 1.3 decades also their double and fivefold, and below
    half a decade whatever is round.
    """
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 0.5:
        axis.set_major_locator(MaxNLocator(4))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.3 else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=99))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_label(value)))
    axis.set_minor_formatter(NullFormatter())


def count_label(value: float) -> str:
    """Return for instance "0.5", "20k", "1.5M" or "300B"."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


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


def draw_band(axes: Axes, line: pd.DataFrame, limits: tuple[str, str], *, look: Look) -> None:
    """Shade the interval between two columns of one model's line."""
    low, high = (line[name] for name in limits)
    axes.fill_between(line["tokens"], low, high, color=look.colour, alpha=0.2, linewidth=0)


def say(axes: Axes, text: str) -> None:
    """Write `text` in the middle of a panel that has nothing to show."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, color=GREY, bbox=box, **place)


def say_n(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the number of prompts in the upper left corner, where curves that rise are not."""
    axes.text(0.02, 0.98, n_prompts(rows), transform=axes.transAxes, va="top", color=GREY)


def n_prompts(rows: pd.DataFrame) -> str:
    """Return for instance "n = 200", or the range where it differs between rows."""
    low, high = rows["n"].min(), rows["n"].max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def model_handles(models: Iterable[Look]) -> list[Artist]:
    """Return one legend entry per model."""
    return [Line2D([], [], color=m.colour, marker=m.marker, label=m.label) for m in models]


def band_handle() -> Patch:
    """Return the legend entry of the shaded intervals."""
    return Patch(color=GREY, alpha=0.25, linewidth=0, label="bootstrap interval")


def legend_below(figure: Figure, handles: Sequence[Artist], *, n_rows: int | None = None) -> None:
    """Put one legend under all panels, with at most five entries side by side."""
    n_columns = math.ceil(len(handles) / (n_rows or math.ceil(len(handles) / 5)))
    figure.legend(handles=handles, loc="outside lower center", ncols=n_columns)


def in_columns(*groups: Sequence[Artist], n_rows: int) -> list[Artist]:
    """Return legend entries such that each group starts a column of `n_rows` entries."""
    blank = Line2D([], [], linestyle="none", label=" ")
    padded = [[*group, *[blank] * (-len(group) % n_rows)] for group in groups]
    return list(chain.from_iterable(padded))
