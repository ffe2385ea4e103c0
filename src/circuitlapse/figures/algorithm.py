"""Whether the heads with a known role carry the IOI algorithm, over training."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import style
from circuitlapse.figures.ticks import label_log
from circuitlapse.types import Status

PANELS = {
    "direct": "Direct effect on the logits:\nname movers, copy suppression",
    "s2i": "Effect on name movers' queries:\nS-inhibition heads",
    "tertiary": "Effect on S-inhibition values:\ninduction, duplicate token",
}
REASONS = {
    "no_behaviour": "the model does not do the task",
    "no_circuit": "no circuit",
    "no_name_movers": "no name movers",
    "no_s2i_heads": "no S-inhibition heads",
    "no_effect": "no head has an effect",
}


def algorithm_figure(
    consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    min_step: int = 1,
) -> Figure:
    """Draw the share of each effect that comes from heads with a known role.

    The share is of the heads of the circuit. Lines break where it is not defined. Shaded are
    bootstrap intervals.

    Args:
        consistency: the table `algorithm_consistency`.
        labels: the models to draw, in the order of the legend, and their names there.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.
    """
    rows = consistency[
        consistency["model"].isin(labels) & (consistency["denominator"] == "circuit")
    ]
    looks = style.looks(labels)
    with style.in_style():
        figure = Figure(figsize=(style.WIDTH_IN, 2.6), layout="constrained")
        grid = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
        for (panel, title), axes in zip(PANELS.items(), grid, strict=True):
            axes.set_title(title)
            axes.set_xscale("log")
            axes.set_xlabel(style.TOKENS)
            _draw_panel(axes, rows[rows["panel"] == panel], looks=looks, min_step=min_step)
        grid[0].set_ylabel("Share of the effect (%)")
        grid[0].set_ylim(-3, 108)
        label_log(grid[0].xaxis)
        models = style.model_handles(looks.values())
        style.legend_below(figure, [*models, *style.interval_handles(figure)])
    return figure


def _draw_panel(
    axes: Axes, analysed: pd.DataFrame, *, looks: Mapping[str, style.Look], min_step: int
) -> None:
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return style.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    if rows["pct"].isna().all():
        return style.say(axes, why_undefined(rows["status"]))
    for model, look in looks.items():
        line = rows[rows["model"] == model].sort_values("tokens")
        style.draw_band(axes, line, ("pct_low", "pct_high"), look=look)
        axes.plot(
            line["tokens"], line["pct"], color=look.colour, marker=look.marker, label=look.label
        )
    return style.say_n(axes, rows)


def why_undefined(statuses: pd.Series[str]) -> str:
    """Say in words why nothing is defined; the most frequent reason, if there are several.

    That a model does not do the task yet is a reason only where it never does.
    """
    able = statuses[statuses != Status.NO_BEHAVIOUR]
    status = str((able if len(able) else statuses).mode().iloc[0])
    return REASONS.get(status, status.replace("_", " "))
