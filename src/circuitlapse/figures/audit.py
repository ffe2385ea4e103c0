"""What the weight files of every checkpoint hold: step by shard, coloured by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import layout, style
from circuitlapse.figures.heatmap import label_cells
from circuitlapse.types.status import CheckpointStatus

_OWN, _NONE = "#d9d9d9", "#ffffff"
"""Colours of content that nothing else has, and of no content."""
_SHARD_IN = 0.13
"""Height of a shard; a model is at least three high."""
_MARKS = {
    CheckpointStatus.DUPLICATE: ("x", "weights of a later step"),
    CheckpointStatus.NO_WEIGHTS: ("_", "no weights"),
    CheckpointStatus.SUSPECT: (".", "suspect"),
}


def audit_figure(audit: pd.DataFrame, *, run_labels: Mapping[str, str]) -> Figure:
    """Draw a square per checkpoint and weight file, coloured by its content.

    Grey content is nowhere else. Files of one colour, other than grey, are the same file. A mark
    above a step says that it is no checkpoint of its own, or suspect.

    Args:
        audit: the table `audit`.
        run_labels: models to draw and their names, from above.
    """
    models = layout.with_rows(run_labels, audit)
    colours = _colours(audit["hash"])
    with style.in_style():
        heights = [_SHARD_IN * (3 + _n_files(audit, model)) for model in models]
        size = (style.WIDTH_IN, sum(heights) + 0.35 * len(heights) + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(models), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (model, label) in zip(grid, models.items(), strict=True):
            _draw(axes, audit[audit["model"] == model], label=label, colours=colours)
        grid[-1].set_xlabel("Training step")
        layout.legend_below(figure, _handles(audit, colours))
        return figure


def _colours(hashes: pd.Series) -> dict[str, str]:
    """Give every content that occurs more than once a colour; the most frequent come first."""
    counts = hashes[hashes != ""].value_counts(sort=False)
    shared = counts[counts > 1].sort_values(ascending=False, kind="stable").index
    return dict(zip(shared, cycle(style.COLOURS), strict=False))


def _n_files(audit: pd.DataFrame, model: str) -> int:
    return int(audit[audit["model"] == model].groupby("step").size().max() or 1)


def _draw(axes: Axes, rows: pd.DataFrame, *, label: str, colours: Mapping[str, str]) -> None:
    steps, n_files = sorted(set(rows["step"].tolist())), _n_files(rows, rows["model"].iloc[0])
    image = np.ones((n_files, len(steps), 3))
    by_step = rows.sort_values("file").groupby("step")["hash"]
    for column, step in enumerate(steps):
        for place, content in enumerate(by_step.get_group(step)):
            face = colours.get(content, _OWN) if content else _NONE
            image[place, column] = to_rgb(face)
    edges = np.arange(len(steps) + 1) - 0.5, np.arange(n_files + 1) - 0.5
    lines: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.4 if len(steps) < 100 else 0.0}
    axes.pcolormesh(*edges, image, **lines)
    _mark(axes, rows, steps)
    axes.set_ylim(n_files - 0.5, -2.0)
    axes.set_yticks([0] if n_files == 1 else [0, n_files - 1])
    axes.set_yticklabels(["1"] if n_files == 1 else ["1", str(n_files)])
    axes.set_title(f"{label}: files with weights at {len(steps)} steps", loc="left")
    names = [style.count_label(float(step)) for step in steps]
    label_cells(axes, names, along="x", length=0.85 * 72 * style.WIDTH_IN)
    axes.set_ylabel("File")


def _mark(axes: Axes, rows: pd.DataFrame, steps: Sequence[int]) -> None:
    status = rows.groupby("step")["status"].first()
    for name, (marker, words) in _MARKS.items():
        at = [column for column, step in enumerate(steps) if status[step] == name]
        if at:
            place = np.full(len(at), -1.2)
            axes.plot(at, place, color="black", marker=marker, linestyle="none", label=words)


def _handles(audit: pd.DataFrame, colours: Mapping[str, str]) -> list[Artist]:
    handles: list[Artist] = [Patch(color=_OWN, label="content of its own")]
    if colours:
        shared = "one colour: one content in several places"
        handles.append(Patch(color=next(iter(colours.values())), label=shared))
    there = set(audit["status"])
    return handles + [
        Line2D([], [], color="black", marker=marker, linestyle="none", label=words)
        for name, (marker, words) in _MARKS.items()
        if name in there
    ]
