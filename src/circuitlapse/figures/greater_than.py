"""Whether the nodes of the Greater-Than circuits do what the algorithm says, over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.head_lines import chance_handle, chance_is_drawn, draw_chance
from circuitlapse.figures.ticks import label_log

CHECKS = {
    "attn_yy": ("Heads that look at the start year", "Share of prompts"),
    "lens_yy": ("Heads that write the start year", "Share of prompts"),
    "mlp_gap": ("MLPs that raise later years", "Logits, later minus earlier"),
}
CHANCE = {"lens_yy": 0.02}
"""Two of 100 years. What share of prompts a head looks at the year by chance, tables do not say."""
MOST = 6
"""Nodes drawn per panel."""


def greater_than_figure(
    checks: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    task: str | None,
    min_step: int = 1,
) -> Figure:
    """Draw each check against training tokens: a row per model, a column per check.

    A line is a node; it has a point at each step whose circuit the node is part of, and breaks
    where it is not. Of more than six nodes those of the last circuit with the largest values,
    whatever their sign, are drawn, and after them those that left the circuit last; the key says
    how many there are besides.

    Args:
        checks: the table `gt_algorithm`.
        summary: the table `circuit_summary`, for the steps that were analysed.
        labels: the models to draw, one row each, and their names.
        task: the name of the Greater-Than task; None where the run has none.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.
    """
    rows = checks[checks["model"].isin(labels)]
    with style.in_style():
        size = (style.WIDTH_IN, 1.7 * len(labels) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(labels), len(CHECKS), squeeze=False, sharex=True)
        for (model, label), line in zip(labels.items(), grid, strict=True):
            for (check, (title, unit)), axes in zip(CHECKS.items(), line, strict=True):
                axes.set_xscale("log")
                axes.set_ylabel(f"{label}\n{unit}" if axes is line[0] else unit)
                of_panel = rows[(rows["model"] == model) & (rows["check"] == check)]
                at = summary[(summary["model"] == model) & summary["task"].isin(of_panel["task"])]
                steps = style.drawable(at, min_step=min_step)["tokens"].unique()
                if task is None:
                    notes.say(axes, notes.NO_TASK)
                else:
                    _draw_panel(axes, of_panel, tokens=np.sort(steps), min_step=min_step)
                if axes in grid[0]:
                    axes.set_title(style.across(title, len(CHECKS), size=style.TITLE_SIZE))
                if axes in grid[-1]:
                    axes.set_xlabel(style.TOKENS)
        label_log(grid[0][0].xaxis)
        notes.hide_empty_axes(figure)
        if chance_is_drawn(figure):
            legends.legend_below(figure, [chance_handle()])
    return figure


def _draw_panel(
    axes: Axes, analysed: pd.DataFrame, *, tokens: Int[ndarray, " step"], min_step: int
) -> None:
    rows = style.drawable(analysed, min_step=min_step).dropna(subset="value")
    if rows.empty:
        return notes.say(axes, "no such node in a circuit")
    every = in_order_of_interest(rows)
    nodes = every[:MOST]
    lines = rows.pivot(index="tokens", columns="node", values="value").reindex(tokens)
    for node, look in style.looks({node: node for node in nodes}).items():
        axes.plot(lines.index, lines[node], color=look.colour, marker=look.marker, label=node)
    if rows["check"].iloc[0] == "mlp_gap":
        axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    else:
        axes.set_ylim(-0.04, 1.04)
        draw_chance(axes, CHANCE.get(str(rows["check"].iloc[0])))
    notes.make_room(axes, n_lines=1)
    notes.say_n(axes, rows)
    more = len(every) - len(nodes)
    own: dict[str, Any] = {"title": f"{more} more not drawn"} if more else {}
    small = {"fontsize": 5.5, "title_fontsize": 5.5}
    axes.legend(loc="best", ncols=2, handlelength=1.2, columnspacing=0.8, **small, **own)
    return None


def in_order_of_interest(rows: pd.DataFrame) -> list[str]:
    """Return the nodes that stay longest, and of those that leave together the largest |value|."""
    last = rows.sort_values("step").groupby("node").last()
    last["size"] = last["value"].abs()
    return list(last.sort_values(["step", "size"], ascending=False, kind="stable").index)
