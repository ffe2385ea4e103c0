"""How much circuits change from step to step, against what other prompts alone change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from circuitlapse.figures import layout, style
from circuitlapse.figures.layout import no_circuits, thin
from circuitlapse.figures.style import SIZE, shorten
from circuitlapse.tables.stability import smoothed

_FLOOR: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0, "zorder": 1.5}
_DOT: dict[str, Any] = {"marker": "_", "markersize": 5, "linestyle": "none"}
_UNKNOWN: dict[str, Any] = {"marker": "o", "markersize": 2.8, "linestyle": "none"}
_UNKNOWN |= {"markerfacecolor": "white", "markeredgewidth": 0.6, "label": "_unknown"}
_TICK: dict[str, Any] = {"marker": "|", "markersize": 4.5, "linestyle": "none"}

_STRIP_IN = 0.14
"""Height of a model's row in the strip of changes beyond the noise floor."""
_NAME_PT = 60.0
"""Width of the names of models beside it; the legend has the full names."""


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


NODES = (View("consecutive", "node", "none"),)
EDGES = (View("consecutive", "edge", "none"), View("consecutive", "edge", "abs"))
REFERENCE = (View("reference", "node", "none"),)


class Panel(NamedTuple):
    """The panel of a task, and the strip below it."""

    overlap: Axes
    beyond: Axes


def pairs_and_halves(table: pd.DataFrame, view: View) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a view, and the split-half rows of the same level and weighting.

    The former get a column `floor`: the lower split-half overlap of their two steps; NaN if one of
    the two is unknown.
    """
    table = table[(table["level"] == view.level) & (table["weighting"] == view.weighting)]
    pairs = table[table["comparison"] == view.comparison]
    halves = table[table["comparison"] == "halves"]
    first, second = (_at(halves, pairs, step=step) for step in ("step", "step_next"))
    return pairs.assign(floor=np.minimum(first, second)), halves


def _at(halves: pd.DataFrame, pairs: pd.DataFrame, *, step: str) -> Float[ndarray, " pair"]:
    """Return the split-half overlap at one step of each pair, for the same model and task."""
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
    """Draw the line and the noise floor of each model, and below the changes beyond the floor.

    A hollow mark is a change that cannot be judged: one of its circuits has no floor. The floor is
    smoothed like the line; `alpha` is the weight of the newest step.
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
    """Draw the noise floor, smoothed; an isolated step has a dash."""
    halves = halves.sort_values("tokens")
    floor = smoothed(halves["jaccard"], alpha=alpha)
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


def stability_figure(
    stability: pd.DataFrame,
    *,
    circuit_summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
    views: Sequence[View] = NODES,
) -> Figure:
    """Draw the smoothed overlap of circuits at neighbouring steps, one panel per task.

    Dotted is the noise floor: the overlap of circuits found on two halves of the prompts at one
    step, smoothed alike. The strip below a panel marks the steps whose overlap with the next step,
    without smoothing, is below the floor at both steps.

    Args:
        stability: the table `stability`, of one attribution method.
        circuit_summary: the table `circuit_summary`, for the number of prompts.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks to draw; each has a panel.
        min_step: first step to draw; the logarithmic axis never shows step 0.
        views: rows of `stability` to draw; each of several views has a row of panels.

    Raises:
        ArtifactError: a table has more than one attribution method.
    """
    tables = (
        style.of_one_method(stability, "stability"),
        style.of_one_method(circuit_summary, "circuit_summary"),
    )
    table, summary = (one[one["model"].isin(labels)] for one in tables)
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = _panels(views, tasks, names=list(labels.values()))
        alpha = float(table["alpha"].max())
        for (view, task), panel in panels.items():
            found = pairs_and_halves(table[table["task"] == task], view)
            pairs, halves = (style.drawable(rows, min_step=min_step) for rows in found)
            analysed = summary[summary["task"] == task]
            if pairs["jaccard"].isna().all():
                layout.say(panel.overlap, _why_empty(analysed, view=view, min_step=min_step))
                continue
            draw_overlap(panel, pairs, halves=halves, view=view, alpha=alpha, looks=looks)
            words = layout.inside(_words(analysed, pairs, view=view), panel.overlap)
            layout.make_room(panel.overlap, n_lines=words.count("\n"))
            layout.note(panel.overlap, words)
        models = layout.model_handles(looks.values())
        marks = overlap_handles(figure, views[0], alpha=alpha)
        return layout.finish(figure, panels[views[0], tasks[0]].beyond, models, marks)


def stability_edges_figure(stability: pd.DataFrame, **given: Any) -> Figure:
    """Draw the same for edges: unweighted in the upper row, weighted by |score| in the lower.

    Arguments and errors are those of `stability_figure`; there is a column per task.
    """
    return stability_figure(stability, views=EDGES, **given)


def stability_reference_figure(stability: pd.DataFrame, **given: Any) -> Figure:
    """Draw the overlap of the circuit of each step with that of the reference step.

    Arguments and errors are those of `stability_figure`; nothing is smoothed.
    """
    return stability_figure(stability, views=REFERENCE, **given)


def _panels(
    views: Sequence[View], tasks: Sequence[str], *, names: Sequence[str]
) -> tuple[Figure, dict[tuple[View, str], Panel]]:
    """Return a row of tasks per view; a single view may take several rows."""
    n_columns = layout.side_by_side(len(tasks)) if len(views) == 1 else len(tasks)
    n_rows = math.ceil(len(views) * len(tasks) / n_columns)
    heights = [1.6, _STRIP_IN * (len(names) + 0.2)] * n_rows
    figure = Figure(
        figsize=(style.WIDTH_IN, sum(heights) + 0.5 * n_rows + 0.6), layout="constrained"
    )
    grid = figure.subplots(2 * n_rows, n_columns, squeeze=False, sharex=True, height_ratios=heights)
    above, below = grid[::2].ravel(), grid[1::2].ravel()
    keys = list(product(views, tasks))
    panels = {key: Panel(*pair) for key, *pair in zip(keys, above, below, strict=False)}
    for place, ((view, task), panel) in enumerate(panels.items()):
        panel.overlap.set_title(style.column_title(task, n_columns) if view == views[0] else "")
        _dress(panel, view, n_columns=n_columns, names=names, first=place % n_columns == 0)
    for unused in (*above[len(keys) :], *below[len(keys) :]):
        unused.set_visible(False)
    return figure, panels


def _dress(panel: Panel, view: View, *, n_columns: int, names: Sequence[str], first: bool) -> None:
    panel.overlap.set_ylim(0, 1.18)
    panel.overlap.set_yticks(np.linspace(0, 1, 6))
    panel.overlap.set_xscale("log")
    panel.overlap.tick_params(axis="y", labelleft=first)
    panel.overlap.set_ylabel(view.label if first else "")
    panel.beyond.set_xlabel(style.across(style.TOKENS, n_columns, size=style.LABEL_SIZE))
    short = [shorten(name, _NAME_PT, size=SIZE) for name in names] if first else []
    panel.beyond.set_yticks(range(len(short)), short)
    panel.beyond.set_ylim(len(names) - 0.4, -0.6)
    panel.beyond.tick_params(axis="x", labelbottom=True)
    panel.beyond.tick_params(axis="y", length=0)


def _words(analysed: pd.DataFrame, pairs: pd.DataFrame, *, view: View) -> str:
    if view.comparison != "reference":
        return layout.n_prompts(analysed)
    first, last = pairs["step_next"].min(), pairs["step_next"].max()
    steps = f"step {first}" if first == last else f"steps {first} to {last}"
    return f"{layout.n_prompts(analysed)}; reference: {steps}"


def _why_empty(analysed: pd.DataFrame, *, view: View, min_step: int) -> str:
    if style.drawable(analysed, min_step=min_step)["n_edges"].isna().all():
        return no_circuits(analysed, min_step=min_step)
    if view.comparison == "reference":
        return "no circuit at\nthe reference step"
    return "no two neighbouring steps\nwith circuits"
