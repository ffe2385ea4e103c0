"""Whether circuits implement the known algorithms for IOI and Greater-Than, over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from circuitlapse.figures import layout, style
from circuitlapse.figures.lines import chance_handles, draw_chance
from circuitlapse.types import AlgorithmStatus

PANELS = {
    "direct": "Direct effect on the logits:\nname movers, copy suppression",
    "s2i": "Effect on name movers' queries:\nS-inhibition heads",
    "tertiary": "Effect on S-inhibition values:\ninduction, duplicate token",
}
REASONS: Mapping[str, str] = {
    AlgorithmStatus.NO_BEHAVIOUR: "the model does not do the task",
    AlgorithmStatus.NO_CIRCUIT: "no circuit",
    AlgorithmStatus.NO_NAME_MOVERS: "no name movers",
    AlgorithmStatus.NO_S2I_HEADS: "no S-inhibition heads",
    AlgorithmStatus.NO_EFFECT: "no head has an effect",
}

CHECKS = {
    "attn_yy": ("Heads that look at the start year", "Share of prompts"),
    "lens_yy": ("Heads that write the start year", "Share of prompts"),
    "mlp_gap": ("MLPs that raise later years", "Logits, later minus earlier"),
}
CHANCE = {"lens_yy": 0.02}
"""Two of 100 years. That of `attn_yy` depends on the prompt length, which is in no table."""
MOST = 6
"""Nodes drawn per panel."""


def algorithm_figure(
    algorithm_consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    ioi_task: str | None,
    min_step: int,
) -> Figure:
    """Draw the share of each effect that comes from heads with a known role.

    The share is over the heads of the circuit. Lines break where it is undefined. Shaded areas are
    bootstrap intervals. Lines of later models are thinner, so that all coinciding lines are seen.

    Args:
        algorithm_consistency: the table `algorithm_consistency`.
        labels: models to draw and their names, in the order of the legend.
        ioi_task: name of the IOI task; None if the run has none.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    rows = algorithm_consistency[
        algorithm_consistency["model"].isin(labels)
        & (algorithm_consistency["denominator"] == "circuit")
    ]
    looks = style.looks(labels)
    with style.in_style():
        figure = Figure(figsize=(style.WIDTH_IN, 2.6), layout="constrained")
        grid = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
        for (panel, title), axes in zip(PANELS.items(), grid, strict=True):
            axes.set_title(title)
            axes.set_xscale("log")
            axes.set_xlabel(style.TOKENS)
            if ioi_task is None:
                layout.say(axes, layout.NO_TASK)
            else:
                _draw_panel(axes, rows[rows["panel"] == panel], looks=looks, min_step=min_step)
        grid[0].set_ylabel("Share of the effect (%)")
        grid[0].set_ylim(-4, 120)
        grid[0].set_yticks(range(0, 101, 20))
        models = layout.model_handles(looks.values())
        return layout.finish(figure, grid[0], [*models, *layout.interval_handles(figure)])


def _draw_panel(
    axes: Axes, analysed: pd.DataFrame, *, looks: Mapping[str, style.Look], min_step: int
) -> None:
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return layout.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    if rows["pct"].isna().all():
        return layout.say(axes, why_undefined(rows["status"]))
    for place, (model, look) in enumerate(looks.items()):
        line = rows[rows["model"] == model].sort_values("tokens")
        layout.draw_band(axes, line, ("pct_low", "pct_high"), look=look)
        above: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot(line["tokens"], line["pct"], **above, **_size(place, len(looks)))
    return layout.note(axes, f"{layout.n_prompts(rows)}; {_n_heads(rows)}")


def _size(place: int, n_lines: int) -> dict[str, Any]:
    """Return the widths of a line and its markers: the earlier a line is drawn, the wider."""
    before = (n_lines - 1 - place) / max(n_lines - 1, 1)
    return {"linewidth": 0.9 + 1.7 * before, "markersize": 2.6 + 3.0 * before}


def _n_heads(rows: pd.DataFrame) -> str:
    """Return how many heads with a role count in the shares that are drawn."""
    number = layout.low_to_high(rows.loc[rows["pct"].notna(), "n_heads"])
    return f"{number} {'head' if number == '1' else 'heads'}"


def why_undefined(statuses: pd.Series[str]) -> str:
    """Return the most frequent reason why no share is defined.

    That the model does not do the task is the reason only if it never does.
    """
    able = statuses[statuses != AlgorithmStatus.NO_BEHAVIOUR]
    status = str((able if len(able) else statuses).mode().iloc[0])
    return REASONS.get(status, status.replace("_", " "))


def greater_than_figure(
    gt_algorithm: pd.DataFrame,
    *,
    circuit_summary: pd.DataFrame,
    labels: Mapping[str, str],
    greater_than_task: str | None,
    min_step: int,
) -> Figure:
    """Draw each check against training tokens: a row per model, a column per check.

    A line is a node. It has a point at each step at which the node is in the circuit, and breaks
    at the others. At most six nodes are drawn: those of the last circuit with the largest absolute
    values, then those that left the circuit last. The key says how many more there are.

    Args:
        gt_algorithm: the table `gt_algorithm`.
        circuit_summary: the table `circuit_summary`, for the steps that were analysed.
        labels: models to draw and their names; each has a row.
        greater_than_task: name of the Greater-Than task; None if the run has none.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    rows = gt_algorithm[gt_algorithm["model"].isin(labels)]
    with style.in_style():
        size = (style.WIDTH_IN, 1.7 * len(labels) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(labels), len(CHECKS), squeeze=False, sharex=True)
        for (model, label), line in zip(labels.items(), grid, strict=True):
            for (check, (title, unit)), axes in zip(CHECKS.items(), line, strict=True):
                axes.set_xscale("log")
                axes.set_ylabel(f"{label}\n{unit}" if axes is line[0] else unit)
                of_panel = rows[(rows["model"] == model) & (rows["check"] == check)]
                here = circuit_summary["task"].isin(of_panel["task"])
                at = circuit_summary[here & (circuit_summary["model"] == model)]
                steps = style.drawable(at, min_step=min_step)["tokens"].unique()
                if greater_than_task is None:
                    layout.say(axes, layout.NO_TASK)
                else:
                    _draw_check(axes, of_panel, tokens=np.sort(steps), min_step=min_step)
                if axes in grid[0]:
                    axes.set_title(style.across(title, len(CHECKS), size=style.TITLE_SIZE))
                if axes in grid[-1]:
                    axes.set_xlabel(style.TOKENS)
        return layout.finish(figure, grid[0][0], chance_handles(figure))


def _draw_check(
    axes: Axes, analysed: pd.DataFrame, *, tokens: Int[ndarray, " step"], min_step: int
) -> None:
    rows = style.drawable(analysed, min_step=min_step).dropna(subset="value")
    if rows.empty:
        return layout.say(axes, "no such node in a circuit")
    every = in_order_of_interest(rows)
    nodes = every[:MOST]
    lines = rows.pivot(index="tokens", columns="node", values="value").reindex(tokens)
    for node, look in style.looks({node: node for node in nodes}).items():
        axes.plot(lines.index, lines[node], color=look.colour, marker=look.marker, label=node)
    if rows["check"].iloc[0] == "mlp_gap":
        axes.axhline(0, **style.THIN)
    else:
        axes.set_ylim(-0.04, 1.04)
        draw_chance(axes, CHANCE.get(str(rows["check"].iloc[0])))
    layout.make_room(axes, n_lines=1)
    layout.say_n(axes, rows)
    more = len(every) - len(nodes)
    own: dict[str, Any] = {"title": f"{more} more not drawn"} if more else {}
    small = {"fontsize": 5.5, "title_fontsize": 5.5}
    axes.legend(loc="best", ncols=2, handlelength=1.2, columnspacing=0.8, **small, **own)
    return None


def in_order_of_interest(rows: pd.DataFrame) -> list[str]:
    """Return the nodes that stay longest first; among those that leave together, by |value|."""
    last = rows.sort_values("step").groupby("node").last()
    last["size"] = last["value"].abs()
    return list(last.sort_values(["step", "size"], ascending=False, kind="stable").index)
