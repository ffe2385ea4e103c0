"""How faithful circuits of growing size are, at the end of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import legends, notes, style
from circuitlapse.figures.ticks import label_log
from circuitlapse.types import Ranking, Status

_CHOSEN: dict[str, Any] = {"markersize": 7, "markeredgecolor": "black", "linestyle": "none"}

_RANDOM: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}

_NO_CIRCUITS = "no circuits at the last step:\nno behaviour"


def faithfulness_figure(
    curve: pd.DataFrame,
    *,
    rankings: pd.DataFrame,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
) -> Figure:
    """Draw faithfulness against circuit size at each model's last step, one panel per task.

    A model without a circuit at its last step has no curve, and its panel says so. A dotted
    line is the mean over random circuits: what any circuit of that size would do.

    Args:
        curve: the table `faithfulness_curve`, of one attribution method.
        rankings: the table `ranking_curve`, for the random circuits.
        summary: the table `circuit_summary`, for the last step and the circuit chosen there.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one panel each, in this order.
        threshold: the faithfulness that a circuit had to reach.

    Raises:
        ArtifactError: if a table holds more than one method.
    """
    chosen = _at_last_step(style.of_one_method(summary))
    curve = _of(chosen, style.of_one_method(curve))
    chance = _of(chosen, _random_mean(style.of_one_method(rankings)))
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = style.panel_grid(tasks)
        for task, axes in panels.items():
            axes.axhline(threshold, color=style.GREY, linestyle="--", linewidth=0.8, zorder=1)
            lines = curve[(curve["task"] == task) & curve["model"].isin(labels)]
            stars = chosen[(chosen["task"] == task) & chosen["model"].isin(labels)]
            _draw_chance(axes, chance[chance["task"] == task], looks=looks)
            _draw_task(axes, lines, chosen=stars, looks=looks)
        label_log(panels[tasks[0]].xaxis)
        notes.hide_empty_axes(figure)
        models = legends.model_handles(looks.values())
        legends.legend_below(figure, [*models, *_mark_handles(figure, threshold)])
    return figure


def _at_last_step(summary: pd.DataFrame) -> pd.DataFrame:
    last = summary.groupby(["model", "task"])["step"].transform("max")
    return summary[summary["step"] == last]


def _of(chosen: pd.DataFrame, curve: pd.DataFrame) -> pd.DataFrame:
    """Keep the curves of the searches in `chosen`; a search without behaviour has none."""
    return curve.merge(chosen[["model", "task", "step"]], on=["model", "task", "step"])


def _random_mean(rankings: pd.DataFrame) -> pd.DataFrame:
    """Return the mean size and faithfulness of the random circuits of each share of the edges."""
    chance = rankings[rankings["ranking"] == Ranking.RANDOM]
    by = ["model", "task", "step", "fraction"]
    return chance.groupby(by, as_index=False)[["n_edges", "f_raw"]].mean()


def _draw_chance(axes: Axes, chance: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    for model, look in looks.items():
        # of most small ones pruning leaves nothing, which has no place on a logarithmic axis
        line = chance[(chance["model"] == model) & (chance["n_edges"] >= 1)]
        if line["f_raw"].notna().any():
            axes.plot(line["n_edges"], line["f_raw"], color=look.colour, zorder=1.5, **_RANDOM)


def _draw_task(
    axes: Axes, lines: pd.DataFrame, *, chosen: pd.DataFrame, looks: Mapping[str, style.Look]
) -> None:
    axes.set_xlabel("Circuit size (edges)")
    axes.set_ylabel("Faithfulness (circuit / model)")
    # a circuit of which pruning left nothing has no place on a logarithmic axis
    lines = lines[lines["f_raw"].notna() & (lines["n_edges"] > 0)]
    if lines.empty:
        axes.set_ylim(0, 1.3)
        return notes.say(axes, "not analysed" if chosen.empty else _NO_CIRCUITS)
    for model, look in looks.items():
        line = lines[lines["model"] == model].sort_values(["n_edges", "n_requested"])
        mark = chosen[chosen["model"] == model].dropna(subset=["n_edges"])
        own: dict[str, Any] = {"color": look.colour, "marker": look.marker}
        axes.plot(line["n_edges"], line["f_raw"], label=look.label, **own)
        axes.plot(mark["n_edges"].astype("float64"), mark["f_raw"], **own, **_CHOSEN)
    return _note(axes, chosen, looks=looks)


def _note(axes: Axes, chosen: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    """Write what the lines do not show in the upper left corner, left of rising curves."""
    absent = set(chosen.loc[chosen["status"] == Status.NO_BEHAVIOUR, "model"])
    lines = [f"no circuit: {look.label}" for model, look in looks.items() if model in absent]
    text = notes.inside("\n".join([*lines, notes.n_prompts(chosen)]), axes)
    notes.make_room(axes, n_lines=text.count("\n") + 1)
    notes.note(axes, text)


def _mark_handles(figure: Figure, threshold: float) -> list[Artist]:
    """Return a legend entry for each kind of mark that is in the figure."""
    lines = [line for axes in figure.axes for line in axes.lines]
    marks = [
        (
            any(
                line.get_markeredgecolor() == "black" and np.size(line.get_xdata())
                for line in lines
            ),
            Line2D([], [], color="white", marker="o", label="chosen circuit", **_CHOSEN),
        ),
        (
            any(line.get_linestyle() == ":" for line in lines),
            Line2D([], [], color=style.GREY, label="random circuits", **_RANDOM),
        ),
    ]
    line = Line2D([], [], color=style.GREY, linestyle="--", label=f"threshold ({threshold:g})")
    return [*(handle for drawn, handle in marks if drawn), line]
