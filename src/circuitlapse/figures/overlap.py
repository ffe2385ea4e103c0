"""One panel of overlaps between circuits: lines, noise floor, and the changes beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from circuitlapse.figures import style
from circuitlapse.figures.grids import thin

_FLOOR: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0, "zorder": 1.5}
_DOT: dict[str, Any] = {"marker": "_", "markersize": 5, "linestyle": "none"}
_UNKNOWN: dict[str, Any] = {"marker": "o", "markersize": 2.8, "linestyle": "none"}
_UNKNOWN |= {"markerfacecolor": "white", "markeredgewidth": 0.6, "label": "_unknown"}
_TICK: dict[str, Any] = {"marker": "|", "markersize": 4.5, "linestyle": "none"}


class View(NamedTuple):
    """Which rows of the table `stability` are drawn."""

    comparison: str
    level: str
    weighting: str

    @property
    def value(self) -> str:
        """The column that is drawn; only the overlap of neighbouring steps is smoothed."""
        return "ewma" if self.comparison == "consecutive" else "jaccard"

    @property
    def label(self) -> str:
        """What the y axis says."""
        measure = "Jaccard" if self.weighting == "none" else "weighted Jaccard"
        smoothed = ",\nsmoothed" if self.value == "ewma" else ""
        return f"{self.level.capitalize()} overlap\n({measure}{smoothed})"


class Panel(NamedTuple):
    """The panel of a task, and the strip below it."""

    overlap: Axes
    beyond: Axes


def pairs_and_halves(table: pd.DataFrame, view: View) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a view, and those of two halves of the prompts at one step.

    The former have a column `floor`: the lower of the overlaps of halves at their two steps; NaN
    where one of them is not known.
    """
    table = table[(table["level"] == view.level) & (table["weighting"] == view.weighting)]
    pairs = table[table["comparison"] == view.comparison]
    halves = table[table["comparison"] == "halves"]
    first, second = (_at(halves, pairs, step=step) for step in ("step", "step_next"))
    return pairs.assign(floor=np.minimum(first, second)), halves


def _at(halves: pd.DataFrame, pairs: pd.DataFrame, *, step: str) -> Float[ndarray, " pair"]:
    """Return the overlap of halves at one step of each pair, of the same model and task."""
    known = halves.set_index(["model", "task", "step"])["jaccard"]
    wanted = pd.MultiIndex.from_frame(pairs[["model", "task", step]])
    found: ndarray = known.reindex(wanted).to_numpy()
    return found


def draw_overlap(
    panel: Panel,
    pairs: pd.DataFrame,
    *,
    halves: pd.DataFrame,
    view: View,
    alpha: float,
    looks: Mapping[str, style.Look],
) -> None:
    """Draw each model's line and its noise floor, and below the changes beyond the floor.

    A change between circuits of which one has no floor has a hollow mark: it cannot be judged.
    Where the line is smoothed, so is the floor: `alpha` is the weight of the newest step.
    """
    for row, (model, look) in enumerate(looks.items()):
        line = pairs[pairs["model"] == model].sort_values("tokens")
        values = line[view.value].where(line["jaccard"].notna())
        own: dict[str, Any] = {"color": look.colour, "label": look.label, "marker": look.marker}
        panel.overlap.plot(line["tokens"], values, **own, **thin(len(line)))
        floor = halves[halves["model"] == model]
        _draw_floor(panel.overlap, floor, alpha=alpha if view.value == "ewma" else 1.0, look=look)
        beyond = line[line["jaccard"] < line["floor"]]
        at = np.full(len(beyond), row)
        panel.beyond.plot(beyond["tokens"], at, color=look.colour, label=look.label, **_TICK)
        unknown = line[line["jaccard"].notna() & line["floor"].isna()]
        at = np.full(len(unknown), row)
        panel.beyond.plot(unknown["tokens"], at, color=look.colour, **_UNKNOWN)


def _draw_floor(axes: Axes, halves: pd.DataFrame, *, alpha: float, look: style.Look) -> None:
    """Draw the noise floor, smoothed; a step without neighbours has a dash."""
    halves = halves.sort_values("tokens")
    smooth = halves["jaccard"].ewm(alpha=alpha, adjust=False, ignore_na=True).mean()
    floor = smooth.where(halves["jaccard"].notna())
    axes.plot(halves["tokens"], floor, color=look.colour, **_FLOOR)
    lone = style.without_neighbours(floor.notna().to_numpy())
    axes.plot(halves["tokens"][lone], floor[lone], color=look.colour, **_DOT)


def overlap_handles(figure: Figure, view: View, *, alpha: float) -> list[Artist]:
    """Return a legend entry for each kind of mark that is in the figure."""
    smoothed = f"neighbouring steps, smoothed (alpha = {alpha:g})"
    line = smoothed if view.value == "ewma" else "a step and the reference step"
    drawn = [line for axes in figure.axes for line in axes.lines if _is_drawn(line)]
    grey: dict[str, Any] = {"color": style.GREY}
    marks: list[tuple[bool, Artist]] = [
        (any(one.get_linestyle() == "-" for one in drawn), Line2D([], [], label=line, **grey)),
        (
            any(one.get_linestyle() == ":" for one in drawn),
            Line2D([], [], label="two halves of the prompts (noise floor)", **grey, **_FLOOR),
        ),
        (
            any(one.get_marker() == "|" for one in drawn),
            Line2D([], [], label="change beyond the noise floor", **grey, **_TICK),
        ),
        (
            any(one.get_label() == _UNKNOWN["label"] for one in drawn),
            Line2D([], [], **grey, **_UNKNOWN | {"label": "no noise floor: cannot be judged"}),
        ),
    ]
    return [handle for is_there, handle in marks if is_there]


def _is_drawn(line: Line2D) -> bool:
    points = np.asarray(line.get_xydata(), dtype=float)
    return bool(np.isfinite(points).all(axis=1).any())
