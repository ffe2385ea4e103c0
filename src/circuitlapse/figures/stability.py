"""How much circuits change from step to step, and how much other prompts alone change them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.overlap import (
    Panel,
    View,
    draw_overlap,
    overlap_handles,
    pairs_and_halves,
)
from circuitlapse.figures.statuses import no_circuits
from circuitlapse.figures.text import shorten
from circuitlapse.figures.ticks import SIZE, label_log

_STRIP_IN = 0.14
"""Height of a model's row in the strip of changes beyond the noise floor."""
_NAME_PT = 60.0
"""Width of the models' names beside it; the legend has them in full."""


def stability_figure(
    table: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int = 1,
) -> Figure:
    """Draw the smoothed overlap of the nodes of neighbouring circuits, one panel per task.

    Dotted is the noise floor: the overlap of circuits found on two halves of the prompts at one
    step, smoothed alike. A strip below shows the steps whose overlap with the next one, not
    smoothed, is below the floor at both of them.

    Args:
        table: the table `stability`, of one attribution method.
        summary: the table `circuit_summary`, for the number of prompts and for empty panels.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one panel each, in this order.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.

    Raises:
        ArtifactError: if a table holds more than one method.
    """
    views = [View("consecutive", "node", "none")]
    return _figure(table, summary, views=views, labels=labels, tasks=tasks, min_step=min_step)


def stability_edges_figure(
    table: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int = 1,
) -> Figure:
    """Draw the same for edges: above all count alike, below each by its share of the scores.

    Arguments and errors are those of `stability_figure`; there is a column per task.
    """
    views = [View("consecutive", "edge", weighting) for weighting in ("none", "abs")]
    return _figure(table, summary, views=views, labels=labels, tasks=tasks, min_step=min_step)


def stability_reference_figure(
    table: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int = 1,
) -> Figure:
    """Draw the overlap of the nodes of each step's circuit with that of the reference step.

    Arguments and errors are those of `stability_figure`; nothing is smoothed.
    """
    views = [View("reference", "node", "none")]
    return _figure(table, summary, views=views, labels=labels, tasks=tasks, min_step=min_step)


def _figure(
    table: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    views: Sequence[View],
    labels: Mapping[str, str],
    tasks: Sequence[str],
    min_step: int,
) -> Figure:
    table, summary = style.of_one_method(table), style.of_one_method(summary)
    table, summary = (one[one["model"].isin(labels)] for one in (table, summary))
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = _panels(views, tasks, names=list(labels.values()))
        alpha = float(table["alpha"].max())
        for (view, task), panel in panels.items():
            found = pairs_and_halves(table[table["task"] == task], view)
            pairs, halves = (style.drawable(rows, min_step=min_step) for rows in found)
            analysed = summary[summary["task"] == task]
            if pairs["jaccard"].isna().all():
                notes.say(panel.overlap, _why_empty(analysed, view=view, min_step=min_step))
                continue
            draw_overlap(panel, pairs, halves=halves, view=view, alpha=alpha, looks=looks)
            words = notes.inside(_words(analysed, pairs, view=view), panel.overlap)
            notes.make_room(panel.overlap, n_lines=words.count("\n"))
            notes.note(panel.overlap, words)
        label_log(panels[views[0], tasks[0]].beyond.xaxis)
        notes.hide_empty_axes(figure)
        marks = overlap_handles(figure, views[0], alpha=alpha)
        legends.legend_below(figure, legends.model_handles(looks.values()), marks)
    return figure


def _panels(
    views: Sequence[View], tasks: Sequence[str], *, names: Sequence[str]
) -> tuple[Figure, dict[tuple[View, str], Panel]]:
    """Return a row of tasks for each of several views; of one, as many rows as it takes."""
    n_columns = style.side_by_side(len(tasks)) if len(views) == 1 else len(tasks)
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
        title = style.across(style.task_title(task), n_columns, size=style.TITLE_SIZE)
        panel.overlap.set_title(title if view == views[0] else "")
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
        return notes.n_prompts(analysed)
    first, last = pairs["step_next"].min(), pairs["step_next"].max()
    steps = f"step {first}" if first == last else f"steps {first} to {last}"
    return f"{notes.n_prompts(analysed)}; reference: {steps}"


def _why_empty(analysed: pd.DataFrame, *, view: View, min_step: int) -> str:
    if style.drawable(analysed, min_step=min_step)["n_edges"].isna().all():
        return no_circuits(analysed, min_step=min_step)
    if view.comparison == "reference":
        return "no circuit at\nthe reference step"
    return "no two neighbouring steps\nwith circuits"
