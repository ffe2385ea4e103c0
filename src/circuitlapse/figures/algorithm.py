"""Whether circuits implement the known algorithms for IOI and Greater-Than, over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from circuitlapse.figures import layout, style
from circuitlapse.figures.lines import chance_handles, draw_chance
from circuitlapse.types import EffectSign
from circuitlapse.types.status import AlgorithmStatus

PANELS = {
    (
        "direct",
        EffectSign.NEGATIVE,
    ): "On the logits, for\nthe answer: name movers,\ncopy suppression",
    ("direct", EffectSign.POSITIVE): "Harmful, on the logits:\nname movers,\ncopy suppression",
    ("s2i", EffectSign.BOTH): "On name movers'\nqueries: S-inhibition",
    ("tertiary", EffectSign.BOTH): "On S-inhibition values:\ninduction,\nduplicate token",
}
"""The panel and the sign of effects of each column -> its title."""
REASONS: Mapping[str, str] = {
    AlgorithmStatus.NO_BEHAVIOUR: "the model does not do the task",
    AlgorithmStatus.NO_CIRCUIT: "no circuit",
    AlgorithmStatus.NO_NAME_MOVERS: "no name movers",
    AlgorithmStatus.NO_S2I_HEADS: "no S-inhibition heads",
    AlgorithmStatus.NO_EFFECT: "no head has an effect",
    AlgorithmStatus.SMALL_TOTAL: "all effects are too small",
}
"""Why a share is undefined -> in words; the later, the more was measured."""

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
    """Draw the share of each effect that comes from heads with a known role, and its size.

    The upper row has the share, and dotted the quantile of the share with shuffled scores; the
    lower row the sum of effects that it is a share of, and dashed the effect of the heads with a
    role when they are patched together. Only heads of the circuit count. Lines break where a number
    is undefined. Shaded areas are intervals. Lines of later models are thinner, so that all
    coinciding lines are seen.

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
        figure = Figure(figsize=(style.WIDTH_IN, 4.0), layout="constrained")
        grid = figure.subplots(2, len(PANELS), sharex=True, sharey="row")
        for ((panel, sign), title), column in zip(PANELS.items(), grid.T, strict=True):
            column[0].set_title(title)
            column[0].set_xscale("log")
            column[1].set_xlabel(style.across(style.TOKENS, len(PANELS), size=style.LABEL_SIZE))
            here = rows[(rows["panel"] == panel) & (rows["sign"] == sign)]
            for axes, curve in zip(column, (SHARE, TOTAL), strict=True):
                if ioi_task is None:
                    layout.say(axes, layout.NO_TASK)
                else:
                    _draw_panel(axes, here, curve, looks=looks, min_step=min_step)
        grid[0, 0].set_ylabel("Share of the effect (%)")
        grid[0, 0].set_ylim(-4, 120)
        grid[0, 0].set_yticks(range(0, 101, 20))
        grid[1, 0].set_ylabel("Effect\n(share of the drop)")
        models = layout.model_handles(looks.values())
        handles = [*models, *layout.interval_handles(figure), *_beside_handles(figure)]
        return layout.finish(figure, grid[0, 0], handles)


class _Curve(NamedTuple):
    """Columns of the table: what is drawn, its interval, and what is drawn beside it."""

    value: str
    ends: tuple[str, str]
    beside: str
    style: Literal[":", "--"]
    meaning: str


SHARE = _Curve("pct", ("pct_low", "pct_high"), "null_high", ":", "95 % of shuffled scores")
TOTAL = _Curve("total", ("total_low", "total_high"), "joint", "--", "heads with a role, together")


def _draw_panel(
    axes: Axes,
    analysed: pd.DataFrame,
    curve: _Curve,
    *,
    looks: Mapping[str, style.Look],
    min_step: int,
) -> None:
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return layout.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    if rows[curve.value].isna().all():
        return layout.say(axes, why_undefined(rows["status"]))
    for place, (model, look) in enumerate(looks.items()):
        line = rows[rows["model"] == model].sort_values("tokens")
        layout.draw_band(axes, line, curve.ends, look=look)
        above: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot(line["tokens"], line[curve.value], **above, **_size(place, len(looks)))
        beside: dict[str, Any] = {"color": look.colour, "linestyle": curve.style, "marker": ""}
        size, label = line[curve.beside].abs(), f"_{curve.meaning}"
        axes.plot(line["tokens"], size, linewidth=0.9, label=label, **beside)
    if curve is SHARE:
        return layout.note(axes, f"{layout.n_prompts(rows)}; {_n_heads(rows)}")
    return None


def _beside_handles(figure: Figure) -> list[Artist]:
    """Return the legend entries of the lines beside shares and totals that are drawn."""
    return [
        Line2D([], [], color=style.GREY, linewidth=0.9, linestyle=one.style, label=one.meaning)
        for one in (SHARE, TOTAL)
        if layout.has_line(figure, f"_{one.meaning}")
    ]


def _size(place: int, n_lines: int) -> dict[str, Any]:
    """Return the widths of a line and its markers: the earlier a line is drawn, the wider."""
    before = (n_lines - 1 - place) / max(n_lines - 1, 1)
    return {"linewidth": 0.9 + 1.7 * before, "markersize": 2.6 + 3.0 * before}


def _n_heads(rows: pd.DataFrame) -> str:
    """Return how many heads with a role count in the shares that are drawn."""
    number = layout.low_to_high(rows.loc[rows["pct"].notna(), "n_heads"])
    return f"{number} {'head' if number == '1' else 'heads'}"


def why_undefined(statuses: pd.Series[str]) -> str:
    """Return why no share is defined, at the steps where most was measured.

    That there are no such heads, for instance, is the reason only if there never are.
    """
    found = set(statuses)
    known = [words for status, words in REASONS.items() if status in found]
    return known[-1] if known else str(statuses.mode().iloc[0]).replace("_", " ")


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
            looks = _node_looks(rows[rows["model"] == model], min_step=min_step)
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
                    tokens = np.sort(steps)
                    _draw_check(axes, of_panel, tokens=tokens, looks=looks, min_step=min_step)
                if axes in grid[0]:
                    axes.set_title(style.across(title, len(CHECKS), size=style.TITLE_SIZE))
                if axes in grid[-1]:
                    axes.set_xlabel(style.TOKENS)
        return layout.finish(figure, grid[0][0], chance_handles(figure))


def _node_looks(analysed: pd.DataFrame, *, min_step: int) -> dict[str, style.Look]:
    """Give each drawn node of a model one colour and marker for all its panels.

    MLPs, which are in a panel of their own, have the same looks as heads.
    """
    rows = style.drawable(analysed, min_step=min_step).dropna(subset="value")
    drawn = {
        node: node
        for check in CHECKS
        for node in in_order_of_interest(rows[rows["check"] == check])[:MOST]
    }
    kinds = [{n: n for n in drawn if n.startswith("m") == is_mlp} for is_mlp in (False, True)]
    return {node: look for kind in kinds for node, look in style.looks(kind).items()}


def _draw_check(
    axes: Axes,
    analysed: pd.DataFrame,
    *,
    tokens: Int[ndarray, " step"],
    looks: Mapping[str, style.Look],
    min_step: int,
) -> None:
    rows = style.drawable(analysed, min_step=min_step).dropna(subset="value")
    if rows.empty:
        return layout.say(axes, "no such node in a circuit")
    every = in_order_of_interest(rows)
    nodes = every[:MOST]
    lines = rows.pivot(index="tokens", columns="node", values="value").reindex(tokens)
    for node, look in ((node, looks[node]) for node in nodes):
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
