"""How faithful circuits of growing size are, at the end of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import style
from circuitlapse.types import Status

_CHOSEN: dict[str, Any] = {"markersize": 7, "markeredgecolor": "black", "linestyle": "none"}

_NO_CIRCUITS = "no circuits at the last step:\nno behaviour"


def faithfulness_figure(
    curve: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    threshold: float,
) -> Figure:
    """Draw faithfulness against circuit size at each model's last step, one panel per task.

    A model without a circuit at its last step has no curve, and its panel says so.

    Args:
        curve: the table `faithfulness_curve`, of one attribution method.
        summary: the table `circuit_summary`, for the last step and the circuit chosen there.
        labels: the models to draw, in the order of the legend, and their names there.
        tasks: one panel each, in this order.
        threshold: the faithfulness that a circuit had to reach.

    Raises:
        ArtifactError: if a table holds more than one method.
    """
    chosen = _at_last_step(style.of_one_method(summary))
    curve = _of(chosen, style.of_one_method(curve))
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = style.panel_grid(tasks)
        for task, axes in panels.items():
            axes.axhline(threshold, color=style.GREY, linestyle="--", linewidth=0.8, zorder=1)
            lines = curve[(curve["task"] == task) & curve["model"].isin(labels)]
            stars = chosen[(chosen["task"] == task) & chosen["model"].isin(labels)]
            _draw_task(axes, lines, chosen=stars, looks=looks)
        style.label_log(panels[tasks[0]].xaxis)
        models = style.model_handles(looks.values())
        style.legend_below(figure, [*models, *_mark_handles(threshold)])
    return figure


def _at_last_step(summary: pd.DataFrame) -> pd.DataFrame:
    last = summary.groupby(["model", "task"])["step"].transform("max")
    return summary[summary["step"] == last]


def _of(chosen: pd.DataFrame, curve: pd.DataFrame) -> pd.DataFrame:
    """Keep the curves of the searches in `chosen`; a search without behaviour has none."""
    return curve.merge(chosen[["model", "task", "step"]], on=["model", "task", "step"])


def _draw_task(
    axes: Axes, lines: pd.DataFrame, *, chosen: pd.DataFrame, looks: Mapping[str, style.Look]
) -> None:
    axes.set_xlabel("Circuit size (edges)")
    axes.set_ylabel("Faithfulness (circuit / model)")
    # a circuit of which pruning left nothing has no place on a logarithmic axis
    lines = lines[lines["f_raw"].notna() & (lines["n_edges"] > 0)]
    if lines.empty:
        return style.say(axes, "not analysed" if chosen.empty else _NO_CIRCUITS)
    for model, look in looks.items():
        line = lines[lines["model"] == model].sort_values(["n_edges", "n_requested"])
        mark = chosen[chosen["model"] == model].dropna(subset=["n_edges"])
        own: dict[str, Any] = {"color": look.colour, "marker": look.marker}
        axes.plot(line["n_edges"], line["f_raw"], label=look.label, **own)
        axes.plot(mark["n_edges"].astype("float64"), mark["f_raw"], **own, **_CHOSEN)
    return _note(axes, chosen, looks=looks)


def _note(axes: Axes, chosen: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    """Write what the lines do not show in the lower right corner, below rising curves."""
    absent = set(chosen.loc[chosen["status"] == Status.NO_BEHAVIOUR, "model"])
    notes = [f"no circuit: {look.label}" for model, look in looks.items() if model in absent]
    text = "\n".join([*notes, style.n_prompts(chosen)])
    axes.text(0.98, 0.03, text, transform=axes.transAxes, ha="right", va="bottom", color=style.GREY)


def _mark_handles(threshold: float) -> list[Artist]:
    return [
        Line2D([], [], color="white", marker="o", label="chosen circuit", **_CHOSEN),
        Line2D([], [], color=style.GREY, linestyle="--", label=f"threshold ({threshold:g})"),
    ]
