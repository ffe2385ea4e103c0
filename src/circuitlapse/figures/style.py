"""What all figures share: size, type, text, ticks, a colour and marker per model, which rows."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray

from circuitlapse.errors import ArtifactError
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import METRIC_FACTS, Faithfulness, Metric

FONT = "DejaVu Sans"
"""The type of all figures. It comes with matplotlib, so it is the same on every machine."""

SIZE = 7.0
"""Type size of tick labels, in points."""
_GAP = 4.0
"""Smallest distance between two labels, in points."""
_OVERHANG = 7.0
"""How far, in points, a label may reach beyond a horizontal axis, towards the next panel."""
WIDTH_IN = 7.0
"""Width of a figure that spans two columns of a paper."""
TITLE_SIZE = 8.0
LABEL_SIZE = 7.5
# Okabe and Ito 2008, without yellow, which is too faint on white. Seven colours and eight
# markers have no common divisor, so 56 models look different.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GREY = "#666666"
THIN: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "zorder": 1}
"""A horizontal line at a level such as zero or chance."""
TOKENS = "Training data (tokens)"
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


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return how wide a line of text is, in points, at a type size of `size` points."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=size, prop=FontProperties(family=FONT))
    return float(path.get_extents().width)


def wrap(text: str, width: float, *, size: float) -> str:
    """Break `text` into lines of at most `width` points, inside a word only if necessary."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines += _pieces(word, width, size=size)
    return "\n".join(lines)


def shorten(text: str, width: float, *, size: float) -> str:
    """Return `text`, cut off with an ellipsis if it is wider than `width` points."""
    if text_width(text, size) <= width:
        return text
    fitting = [n for n in range(1, len(text)) if text_width(f"{text[:n]}…", size) <= width]
    return f"{text[: max(fitting, default=1)].rstrip()}…"


def _pieces(word: str, width: float, *, size: float) -> list[str]:
    pieces = [word[:1]]
    for letter in word[1:]:
        if text_width(pieces[-1] + letter, size) <= width:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def label_log(axis: Axis) -> None:
    """Let a logarithmic axis, and those that share it, choose labels when the figure is drawn."""
    axis.set_major_locator(LogTicks(axis))
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=99))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_label(value)))
    axis.set_minor_formatter(NullFormatter())
    horizontal = isinstance(axis, XAxis)
    axis.axes.autoscale_view(scalex=horizontal, scaley=not horizontal)


def count_label(value: float) -> str:
    """Return for instance "0.5", "20k", "1.5M" or "300B"."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


class LogTicks(LogLocator):
    """The most round ticks whose labels fit side by side.

    Preferred are powers of ten; below 1.3 decades 1, 2 and 5 times powers of ten; below half a
    decade other round numbers. If not even two labels fit, there is one tick.
    """

    def __init__(self, along: Axis) -> None:
        super().__init__()
        self._along = along

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two values, for the current size of the axis."""
        low, high = sorted((float(vmin), float(vmax)))
        choices = [
            values[::stride]
            for choice, max_stride in _choices(low, high)
            for values in [self._inside(choice, low, high)]
            for stride in range(1, max_stride + 1)
        ]
        fitting = (values for values in choices if len(values) > 1 and self._fit(values, low, high))
        found = next(fitting, None)
        if found is None:
            found = next((values[:1] for values in choices if len(values)), choices[0])
        return [float(value) for value in found]

    def nonsingular(self, vmin: float, vmax: float) -> tuple[float, float]:
        """Return a decade around the value if there is only one value."""
        if vmin == vmax and vmin > 0:
            return vmin / math.sqrt(10), vmax * math.sqrt(10)
        low, high = super().nonsingular(vmin, vmax)
        return float(low), float(high)

    def _inside(
        self, values: Float[ndarray, " value"], low: float, high: float
    ) -> Float[ndarray, " tick"]:
        """Keep the values whose labels do not reach too far beyond the axis."""
        values = values[(values >= low * (1 - 1e-9)) & (values <= high * (1 + 1e-9))]
        where, half = self._place(values, low, high), self._extents(values) / 2
        if not isinstance(self._along, XAxis):
            return values
        ends = (where - half >= -_OVERHANG) & (where + half <= self._length() + _OVERHANG)
        return values[ends]

    def _fit(self, values: Float[ndarray, " tick"], low: float, high: float) -> bool:
        extents = self._extents(values)
        needed = (extents[1:] + extents[:-1]) / 2 + _GAP
        return bool((np.diff(self._place(values, low, high)) >= needed).all())

    def _place(
        self, values: Float[ndarray, " tick"], low: float, high: float
    ) -> Float[ndarray, " tick"]:
        share: ndarray = np.log(values / low) / (math.log(high / low) or 1.0)
        return share * self._length()

    def _extents(self, values: Float[ndarray, " tick"]) -> Float[ndarray, " tick"]:
        """Return the length of each label along the axis, in points."""
        if not isinstance(self._along, XAxis):
            return np.full(len(values), SIZE)
        return np.array([text_width(count_label(value), SIZE) for value in values])

    def _length(self) -> float:
        box = self._along.axes.bbox.transformed(self._along.axes.figure.dpi_scale_trans.inverted())
        inches = box.width if isinstance(self._along, XAxis) else box.height
        return 72 * float(inches)


def _choices(low: float, high: float) -> Sequence[tuple[Float[ndarray, " value"], int]]:
    """Return lists of round values between (or next to) two others, the best list first.

    Each comes with the largest n such that labelling only every nth value makes sense.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = (10.0 ** np.arange(first, last + 1), max(1, last - first))
    fine = (np.outer(10.0 ** np.arange(first - 1, last + 1), (1, 2, 5)).ravel(), 1)
    even = [(np.asarray(MaxNLocator(n).tick_values(low, high)), 1) for n in (4, 3, 2, 1)]
    decades = math.log10(high / low)
    if decades < 0.5:
        return [*even, fine]
    return [fine, powers, *even] if decades <= 1.3 else [powers, fine, *even]


class Look(NamedTuple):
    """How a model is drawn, in every figure."""

    label: str
    colour: str
    marker: str


def looks(labels: Mapping[str, str]) -> dict[str, Look]:
    """Give each model of `labels` (model -> its name) a colour and a marker."""
    models = zip(labels.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    return {model: Look(label, colour, marker) for (model, label), colour, marker in models}


@contextmanager
def in_style() -> Iterator[None]:
    """Apply the shared style, and no user's own, to everything drawn or saved in the context."""
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
    return BUILDERS[task].title if task in BUILDERS else task.replace("_", " ")


def task_short(task: str) -> str:
    """Return the abbreviation in the task's title; an unknown one keeps the user's spelling."""
    found = re.search(r"\((\w+)\)$", task_title(task))
    return found[1] if found else task_title(task)


def across(text: str, n_columns: int, *, size: float) -> str:
    """Break text that is above or below one of `n_columns` panels."""
    return wrap(text, 0.68 * 72 * WIDTH_IN / n_columns, size=size)


def column_title(task: str, n_columns: int) -> str:
    """Return the name of a task, broken to fit above one of `n_columns` panels."""
    return across(task_title(task), n_columns, size=TITLE_SIZE)


def metric_title(rows: pd.DataFrame) -> str:
    """Return the metric of `rows` and its unit, for an axis."""
    metric, unit = rows[["metric", "unit"]].iloc[0]
    return f"{METRIC_FACTS[Metric(metric)].title}\n({unit})"


def drawable(rows: pd.DataFrame, *, min_step: int) -> pd.DataFrame:
    """Keep the steps from `min_step` on that a logarithmic axis can show, so not step 0."""
    return rows[(rows["step"] >= min_step) & (rows["tokens"] > 0)]


def of_one_method(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return `table` if all of its circuits were found by one method with one setting.

    Raises:
        ArtifactError: names the table and the methods that its lines would mix up.
    """
    ways = table[["method", "ig_steps"]].drop_duplicates()
    if len(ways) > 1:
        found = ", ".join(
            f"{method} (ig_steps {steps})" for method, steps in ways.itertuples(False)
        )
        raise ArtifactError(
            f"{name}: expected circuits of one method with one ig_steps, found {found}"
        )
    return table


def of_models(
    summary: pd.DataFrame, *, labels: Collection[str], tasks: Collection[str]
) -> pd.DataFrame:
    """Return the rows of `circuit_summary` about some models and tasks, of one method.

    Raises:
        ArtifactError: see `of_one_method`.
    """
    rows = of_one_method(summary, "circuit_summary")
    return rows[rows["model"].isin(list(labels)) & rows["task"].isin(list(tasks))]


def with_held_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose `f_raw`, with its interval if there is one, is the held-out one.

    A task without any held-out number, because its prompts were not halved, keeps the numbers of
    the prompts that its circuits were found on.
    """
    known = rows["f_raw_held_out"].notna().groupby(rows["task"]).transform("any")
    names = [name for name in ("f_raw", "f_raw_low", "f_raw_high") if name in rows]
    held_out = {name: rows[name.replace("f_raw", "f_raw_held_out")] for name in names}
    return rows.assign(**{name: held_out[name].where(known, rows[name]) for name in names})


def raw_threshold(summary: pd.DataFrame, threshold: float) -> float:
    """Return the threshold on `f_raw`; NaN if the search had one on normalised faithfulness."""
    normalised = (summary["faithfulness"] == Faithfulness.NORMALISED).any()
    return float("nan") if normalised else threshold


def by_model(rows: pd.DataFrame, looks: Mapping[str, Look]) -> Iterator[tuple[Look, pd.DataFrame]]:
    """Yield the look of each model and its rows, in the order of training."""
    for model, look in looks.items():
        yield look, rows[rows["model"] == model].sort_values("tokens")


def nothing_to_show(rows: pd.DataFrame, *, min_step: int, log: bool = True) -> str:
    """Say why no row of a task is drawn; `log` says whether the axis of steps is logarithmic."""
    if rows.empty:
        return "not analysed"
    if log and rows["step"].max() == 0:
        return "only step 0, which a logarithmic axis cannot show"
    return f"only steps before {min_step}"


def without_neighbours(known: Bool[ndarray, " step"]) -> Bool[ndarray, " step"]:
    """Return which known points have no known neighbour, so that no line shows them."""
    padded = np.concatenate([[False], known, [False]])
    alone: ndarray = known & ~padded[:-2] & ~padded[2:]
    return alone
