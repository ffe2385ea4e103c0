"""How much circuits change from step to step, against what other prompts alone change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.figures.layout import no_circuits, thin
from circuitlapse.figures.style import SIZE, shorten

_FLOOR: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0, "zorder": 1.5}
_BAND: dict[str, Any] = {"alpha": 0.13, "linewidth": 0}
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
    def label(self) -> str:
        """What the y axis says."""
        measure = "Jaccard" if self.weighting == "none" else "weighted Jaccard"
        return f"{self.level.capitalize()} overlap\n({measure},\nequal size)"


NODES = (View("consecutive", "node", "none"),)
EDGES = (View("consecutive", "edge", "none"), View("consecutive", "edge", "abs"))
REFERENCE = (View("reference", "node", "none"),)


class Panel(NamedTuple):
    """The panel of a task, and the strip below it."""

    overlap: Axes
    beyond: Axes


def pairs_and_floors(table: pd.DataFrame, view: View) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a view, and the rows with the noise floor of each step."""
    table = table[(table["level"] == view.level) & (table["weighting"] == view.weighting)]
    return table[table["comparison"] == view.comparison], table[table["comparison"] == "halves"]


def draw_overlap(
    panel: Panel,
    pairs: pd.DataFrame,
    *,
    floors: pd.DataFrame,
    looks: Mapping[str, style.Look],
) -> None:
    """Draw the line and the noise floor of each model, and below the changes beyond the floor.

    A hollow mark is a comparison that cannot be judged: one of its steps has no floor.
    """
    for row, (model, look) in enumerate(looks.items()):
        line = pairs[pairs["model"] == model].sort_values("tokens")
        own: dict[str, Any] = {"color": look.colour, "label": look.label, "marker": look.marker}
        panel.overlap.plot(line["tokens"], line["jaccard_matched"], **own, **thin(len(line)))
        _draw_floor(panel.overlap, floors[floors["model"] == model], look=look)
        beyond = line[line["changed"].fillna(False).astype(bool)]
        at = np.full(len(beyond), row)
        panel.beyond.plot(beyond["tokens"], at, color=look.colour, label=look.label, **_TICK)
        unknown = line[line["jaccard_matched"].notna() & line["changed"].isna()]
        at = np.full(len(unknown), row)
        panel.beyond.plot(unknown["tokens"], at, color=look.colour, **_UNKNOWN)


def _draw_floor(axes: Axes, floors: pd.DataFrame, *, look: style.Look) -> None:
    """Draw the noise floor from its low quantile to its median; an isolated step has a dash."""
    floors = floors.sort_values("tokens")
    if floors["floor_low"].isna().all():
        return
    tokens, low = floors["tokens"], floors["floor_low"]
    band: dict[str, Any] = {"color": look.colour, **_BAND}
    axes.fill_between(tokens, low, floors["floor_median"], **band)
    axes.plot(tokens, low, color=look.colour, **_FLOOR)
    lone = style.without_neighbours(low.notna().to_numpy())
    axes.plot(tokens[lone], low[lone], color=look.colour, **_DOT)


def overlap_handles(figure: Figure, view: View) -> list[Artist]:
    """Return a legend entry for each kind of mark that is in the figure."""
    neighbours, reference = "neighbouring steps", "a step and the reference step"
    line = neighbours if view.comparison == "consecutive" else reference
    drawn = [line for axes in figure.axes for line in axes.lines if _is_drawn(line)]
    grey: dict[str, Any] = {"color": style.GREY}
    marks: list[tuple[bool, Artist]] = [
        (any(one.get_linestyle() == "-" for one in drawn), Line2D([], [], label=line, **grey)),
        (
            any(one.get_linestyle() == ":" for one in drawn),
            Line2D([], [], label="noise floor (halves of the prompts, 5 %)", **grey, **_FLOOR),
        ),
        (
            any(axes.collections for axes in figure.axes),
            Patch(label="noise floor, 5 % to median", **grey, **_BAND),
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
    """Draw the overlap of equally large circuits at neighbouring steps, one panel per task.

    Dotted is the noise floor: the 5 % quantile of the overlap of circuits of two halves of the
    prompts at one step; the shade reaches up to the median. The strip below a panel marks the steps
    whose overlap with the next step is below the floor at both steps.

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
        for (view, task), panel in panels.items():
            found = pairs_and_floors(table[table["task"] == task], view)
            pairs, floors = (style.drawable(rows, min_step=min_step) for rows in found)
            analysed = summary[summary["task"] == task]
            if pairs["jaccard_matched"].isna().all():
                layout.say(panel.overlap, _why_empty(analysed, view=view, min_step=min_step))
                continue
            draw_overlap(panel, pairs, floors=floors, looks=looks)
            words = layout.inside(_words(analysed, pairs, view=view), panel.overlap)
            layout.make_room(panel.overlap, n_lines=words.count("\n"))
            layout.note(panel.overlap, words)
        models = layout.model_handles(looks.values())
        marks = overlap_handles(figure, views[0])
        return layout.finish(figure, panels[views[0], tasks[0]].beyond, models, marks)


def stability_edges_figure(stability: pd.DataFrame, **given: Any) -> Figure:
    """Draw the same for edges: unweighted in the upper row, weighted by |score| in the lower.

    Arguments and errors are those of `stability_figure`; there is a column per task.
    """
    return stability_figure(stability, views=EDGES, **given)


def stability_reference_figure(stability: pd.DataFrame, **given: Any) -> Figure:
    """Draw the overlap of the circuit of each step with that of the reference step.

    Arguments and errors are those of `stability_figure`.
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
