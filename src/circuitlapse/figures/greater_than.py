"""Whether the nodes of the Greater-Than circuits do what the algorithm says, over training."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import style
from circuitlapse.figures.ticks import label_log

CHECKS = {
    "attn_yy": ("Heads that look at the start year", "Share of prompts"),
    "lens_yy": ("Heads that write the start year", "Share of prompts"),
    "mlp_gap": ("MLPs that raise later years", "Logits, later minus earlier"),
}
MOST = 6
"""Nodes drawn per panel: those with the largest value at their last step."""


def greater_than_figure(
    checks: pd.DataFrame, *, labels: Mapping[str, str], min_step: int = 1
) -> Figure:
    """Draw each check against training tokens: a row per model, a column per check.

    A line is a node, and has a point where the node is part of the circuit. Of more than six
    nodes those with the largest values at the model's last step are drawn.

    Args:
        checks: the table `gt_algorithm`.
        labels: the models to draw, one row each, and their names.
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
                _draw_panel(axes, of_panel, min_step=min_step)
                if axes in grid[0]:
                    axes.set_title(style.across(title, len(CHECKS), size=style.TITLE_SIZE))
                if axes in grid[-1]:
                    axes.set_xlabel(style.TOKENS)
        label_log(grid[0][0].xaxis)
    return figure


def _draw_panel(axes: Axes, analysed: pd.DataFrame, *, min_step: int) -> None:
    rows = style.drawable(analysed, min_step=min_step).dropna(subset="value")
    if rows.empty:
        return style.say(axes, "no such node in a circuit")
    last = rows.sort_values("step").groupby("node")["value"].last()
    nodes = last.sort_values(ascending=False, kind="stable").index[:MOST]
    for node, look in style.looks({node: node for node in nodes}).items():
        line = rows[rows["node"] == node].sort_values("tokens")
        axes.plot(line["tokens"], line["value"], color=look.colour, marker=look.marker, label=node)
    if rows["check"].iloc[0] == "mlp_gap":
        axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    else:
        axes.set_ylim(-0.04, 1.04)
    axes.legend(loc="best", fontsize=5.5, ncols=2, handlelength=1.2, columnspacing=0.8)
    return None
