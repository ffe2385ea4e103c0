"""Lines of attention heads in small panels, and the key under each panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from numpy import ndarray

from circuitlapse.figures import layout, style
from circuitlapse.figures.style import SIZE, label_log, wrap
from circuitlapse.heads.registry import SCORES
from circuitlapse.tables.head_choice import Head, of_heads
from circuitlapse.types.status import ScoreStatus

COMPONENTS = ("succession", "induction", "cspa", "copy")
"""The scores of figure 2 of Tigges et al. 2024, in this order."""

NOT_TESTED = "not_tested"
"""Status in figures of a head that the test for S-inhibition left out."""
REASONS = {
    ScoreStatus.NO_TOKENS: "the tokenizer lacks the words",
    ScoreStatus.NO_EFFECT: "heads have no effect",
    ScoreStatus.NO_NAME_MOVERS: "no name movers",
    NOT_TESTED: "no circuit head\nfeeds name movers",
    ScoreStatus.SKIPPED: "layers left out",
}
AT_CHANCE = "absent: at chance,\nor only in layer 0"
NO_CIRCUIT_HEAD = "no circuit contains\nsuch a head"
UNDEFINED = "not defined"

PANEL_IN = 1.15
"""Height of a panel."""
_EMPTY_IN = 0.8
"""Height of a panel in a row without lines; the name of the model has to fit beside it."""
_KEY_LINE_IN = 0.135
_BELOW_TICKS_PT, _BELOW_TITLE_PT = 16.0, 28.0
"""Distance from a panel to its key, without and with a label of the x axis between them."""
_MARKERS = 12
"""Approximate limit on the markers of a line."""
_CHANCE = "_chance"
"""Label of the line of chance; the underscore keeps it off legends."""
NEAR_CHANCE = "*"
"""Follows the name of a head that stays near chance, in a key."""
_ABOVE = 2.0
_NOTHING = 0.05
"""A y axis reaches at least this high; smaller scores do not matter."""


def title_of(score: str) -> str:
    """Return the title of a score's panel, with an abbreviation on a line of its own."""
    known = SCORES[score]
    title = known.title.replace(" (", "\n(")
    return f"{title} / 100" if known.unit == "%" else title


def of_score(table: pd.DataFrame, score: str, *, models: Collection[str]) -> pd.DataFrame:
    """Return the rows of `components` about one score of some models, values as in figures."""
    rows = table[(table["score"] == score) & table["model"].isin(list(models))]
    scale = 0.01 if SCORES[score].unit == "%" else 1.0
    return rows.assign(value=rows["value"].astype("float64") * scale)


def why_empty(analysed: pd.DataFrame, *, min_step: int) -> str:
    """Say why the rows of a score have no value to draw."""
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    statuses = [status for status in rows["status"].drop_duplicates() if status != ScoreStatus.OK]
    reasons = [REASONS.get(status, status.replace("_", " ")) for status in statuses]
    return "\n".join([f"{UNDEFINED}:", *reasons]) if reasons else UNDEFINED


def no_head(rows: pd.DataFrame, named: pd.DataFrame, tasks: Collection[str]) -> str:
    """Say why no head of `rows` is drawn: all at chance, none in a circuit, or no such task.

    `named` are the rows of the heads that the score may name.
    """
    if named.empty:
        return AT_CHANCE
    return NO_CIRCUIT_HEAD if rows["task"].isin(list(tasks)).any() else layout.NO_TASK


def chance_of(score: str, rows: pd.DataFrame, *, lengths: Sequence[int]) -> float | None:
    """Return the score of a head that has learned nothing; None if it is unknown.

    Args:
        score: the name of a score.
        rows: its rows that are drawn.
        lengths: numbers of random tokens in the sequences for scores of repeated tokens.
    """
    known = set(rows.loc[rows["value"].notna(), "n"])
    return SCORES[score].chance.level(lengths, known.pop() if len(known) == 1 else 0)


class Rows:
    """Rows of panels that share a logarithmic x axis, with a key under each panel.

    Attributes:
        figure: grows with the keys.
        grid: [row, column] of panels.
    """

    def __init__(self, titles: Sequence[Sequence[str]]) -> None:
        """Make a panel for each title; `titles` has a list per row."""
        n_rows, self._n_columns = len(titles), len(titles[0])
        self.figure = Figure(figsize=(style.WIDTH_IN, 0.5), layout="constrained")
        self.grid = self.figure.subplots(n_rows, self._n_columns, squeeze=False, sharex=True)
        self._lines = [0] * n_rows
        self._title_lines = [max(t.count("\n") + bool(t) for t in row) for row in titles]
        for axes, title in zip(self.grid.flat, (one for row in titles for one in row), strict=True):
            axes.set_title(title)
            axes.set_xscale("log")
            axes.tick_params(labelbottom=True)
        for axes in self.grid[-1]:
            tokens = style.across(style.TOKENS, self._n_columns, size=style.LABEL_SIZE)
            axes.set_xlabel(tokens)

    def key(self, row: int, column: int, entries: Sequence[style.Look], *, title: str = "") -> None:
        """Put a key under a panel: the names of its lines."""
        if not entries:
            return
        n_columns = max(1, 9 // self._n_columns)
        last = row == len(self.grid) - 1
        below = _BELOW_TITLE_PT if last else _BELOW_TICKS_PT
        draw_key(self.grid[row, column], entries, n_columns=n_columns, below=below, title=title)
        n_lines = -(-len(entries) // n_columns) + bool(title)
        self._lines[row] = max(self._lines[row], n_lines)

    def names(self) -> list[str]:
        """Return the names in all keys."""
        keys = [axes.get_legend() for axes in self.grid.flat]
        return [text.get_text() for key in keys if key for text in key.get_texts()]

    def finish(self) -> Figure:
        """Label the x axis, and make the figure as tall as panels, titles and keys need."""
        label_log(self.grid[0, 0].xaxis)
        layout.hide_empty_axes(self.figure)
        keys = [_KEY_LINE_IN * lines + 0.1 * bool(lines) for lines in self._lines]
        titles = [0.13 * lines + 0.04 for lines in self._title_lines if lines]
        heights = [PANEL_IN if any(a.has_data() for a in row) else _EMPTY_IN for row in self.grid]
        self.grid[0, 0].get_gridspec().set_height_ratios(heights)
        panels = sum(heights) + 0.28 * len(heights)
        self.figure.set_figheight(panels + sum(keys) + sum(titles) + 0.3)
        return self.figure


def looks_of(panels: Iterable[Sequence[Head]]) -> dict[Head, style.Look]:
    """Give each head of a model a colour and marker of its own.

    Heads of a panel differ in colour if there are enough colours. A head looks the same everywhere.
    """
    panels = [list(panel) for panel in panels]
    looks: dict[Head, style.Look] = {}
    for head in dict.fromkeys(chain.from_iterable(panels)):
        near = {other for panel in panels if head in panel for other in panel}
        beside = Counter(looks[other].colour for other in near if other in looks)
        overall = Counter(look.colour for look in looks.values())
        colour = min(style.COLOURS, key=lambda one: (beside[one], overall[one]))
        taken = {look.marker for look in looks.values() if look.colour == colour}
        start = len(looks) % len(style.MARKERS)
        turned = (*style.MARKERS[start:], *style.MARKERS[:start])
        marker = next((one for one in turned if one not in taken), turned[0])
        looks[head] = style.Look(head.name, colour, marker)
    return looks


def draw_heads(
    axes: Axes, rows: pd.DataFrame, heads: Sequence[Head], *, looks: Mapping[Head, style.Look]
) -> None:
    """Draw the score of some heads at every step of `rows`."""
    for head, line in of_heads(rows, heads).items():
        draw_line(axes, line, look=looks[head])


def draw_line(axes: Axes, line: pd.DataFrame, *, look: style.Look) -> None:
    """Draw the column value of `line` against tokens; the line breaks at NaN."""
    tokens, values = (line[name].to_numpy(dtype=float) for name in ("tokens", "value"))
    at = markers_at(tokens, values)
    own: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
    axes.plot(tokens, values, markevery=at, linewidth=0.9, **own)


def markers_at(
    tokens: Float[ndarray, " step"], values: Float[ndarray, " step"], *, most: int = _MARKERS
) -> list[int]:
    """Return which points of a line get a marker, at similar distances on a logarithmic axis.

    The first, the last and isolated points always have one: no line shows the latter.
    """
    known = np.isfinite(values)
    places = np.flatnonzero(known)
    if len(places) <= most:
        return [int(place) for place in places]
    logs = np.log(tokens[places])
    slots = np.linspace(logs[0], logs[-1], most)
    nearest = places[np.abs(logs[:, None] - slots).argmin(axis=0)]
    lone = np.flatnonzero(style.without_neighbours(known))
    return sorted({int(place) for place in (*nearest, *lone)})


def draw_chance(axes: Axes, value: float | None) -> None:
    """Draw a thin line at the chance level, if it is known."""
    if value is not None:
        axes.axhline(value, label=_CHANCE, **style.THIN)


def chance_handles(figure: Figure) -> list[Artist]:
    """Return the legend entry of that line, if a panel of `figure` has one."""
    line = Line2D([], [], color=style.GREY, linewidth=0.6, label="chance")
    return [line] if layout.has_line(figure, _CHANCE) else []


def is_near_chance(values: Iterable[float], chance: float | None) -> bool:
    """Return whether the chance level is known and no value reaches twice that."""
    known = [value for value in values if np.isfinite(value)]
    return chance is not None and max(known, default=0.0) < _ABOVE * chance


def near_chance_handles(names: Iterable[str]) -> list[Artist]:
    """Return the legend entry of `NEAR_CHANCE`, if one of the names has it."""
    if not any(name.endswith(NEAR_CHANCE) for name in names):
        return []
    label = f"{NEAR_CHANCE} never reaches twice chance"
    return [Line2D([], [], linestyle="none", label=label)]


def draw_key(
    axes: Axes, entries: Sequence[style.Look], *, n_columns: int, below: float, title: str = ""
) -> None:
    """List the names of the lines of a panel, `below` points under it."""
    shift = ScaledTranslation(0, -below / 72, axes.figure.dpi_scale_trans)
    legend = axes.legend(
        handles=layout.model_handles(entries),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.transAxes + shift,
        ncols=n_columns,
        fontsize=SIZE,
        title=title or None,
        title_fontsize=SIZE,
        alignment="left",
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.25,
        handlelength=1.3,
        handletextpad=0.4,
        columnspacing=0.8,
    )
    legend.get_title().set_color(style.GREY)


def name_row(axes: Axes, label: str, *, unit: str = "") -> None:
    """Write the name of a model beside the first panel of its row."""
    name = wrap(label, 72 * PANEL_IN, size=style.LABEL_SIZE)
    axes.set_ylabel(f"{name}\n{unit}" if unit else name)


def say_empty(axes: Axes, text: str) -> None:
    """Say why a panel has no lines, and take the numbers off its y axis."""
    axes.set_yticks([])
    layout.say(axes, text)


def limits_of(values: Iterable[float], *, floor: float = 0.5) -> tuple[float, float]:
    """Return the range of a y axis: from 0, or the smallest value, to above the largest.

    It reaches below zero by at most `floor` times its height above, so that one very low head
    leaves room for the others.
    """
    known = [value for value in values if np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    top = 1.08 * max(high, _NOTHING)
    return (max(1.08 * low, -floor * top) if low < 0 else -0.03 * top), top
