"""What all figures share: size, type, one colour and marker per model, axes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.text import FONT, wrap
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
INTERVAL_BAR = "_interval"
"""Label of the bars of isolated points; matplotlib keeps what starts like this off legends."""
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
        bar: dict[str, Any] = {"linewidth": 0.8, "label": INTERVAL_BAR}
        axes.plot(np.repeat(tokens[lone], 3), ends, color=look.colour, **bar)


def without_neighbours(known: Bool[ndarray, " step"]) -> Bool[ndarray, " step"]:
    """Return which known points a line does not show, for those beside them are not known."""
    padded = np.concatenate([[False], known, [False]])
    alone: ndarray = known & ~padded[:-2] & ~padded[2:]
    return alone
