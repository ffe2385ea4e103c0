"""Whether the heads with a known role carry the IOI algorithm, over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import legends, notes, style
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
    task: str | None,
    min_step: int = 1,
) -> Figure:
    """Draw the share of each effect that comes from heads with a known role.

    The share is of the heads of the circuit. Lines break where it is not defined. Shaded are
    bootstrap intervals. Of lines that lie on each other, those of later models are the thinner.

    Args:
        consistency: the table `algorithm_consistency`.
        labels: the models to draw, in the order of the legend, and their names there.
        task: the name of the IOI task; None where the run has none.
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
            if task is None:
                notes.say(axes, notes.NO_TASK)
            else:
                _draw_panel(axes, rows[rows["panel"] == panel], looks=looks, min_step=min_step)
        grid[0].set_ylabel("Share of the effect (%)")
        grid[0].set_ylim(-4, 120)
        grid[0].set_yticks(range(0, 101, 20))
        label_log(grid[0].xaxis)
        notes.hide_empty_axes(figure)
        models = legends.model_handles(looks.values())
        legends.legend_below(figure, [*models, *legends.interval_handles(figure)])
    return figure


def _draw_panel(
    axes: Axes, analysed: pd.DataFrame, *, looks: Mapping[str, style.Look], min_step: int
) -> None:
    rows = style.drawable(analysed, min_step=min_step)
    if rows.empty:
        return notes.say(axes, style.nothing_to_show(analysed, min_step=min_step))
    if rows["pct"].isna().all():
        return notes.say(axes, why_undefined(rows["status"]))
    for place, (model, look) in enumerate(looks.items()):
        line = rows[rows["model"] == model].sort_values("tokens")
        style.draw_band(axes, line, ("pct_low", "pct_high"), look=look)
        above: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot(line["tokens"], line["pct"], **above, **_size(place, len(looks)))
    return notes.note(axes, f"{notes.n_prompts(rows)}; {_n_heads(rows)}")


def _size(place: int, n_lines: int) -> dict[str, Any]:
    """Return widths of a line and its markers such that those drawn before it look out."""
    before = (n_lines - 1 - place) / max(n_lines - 1, 1)
    return {"linewidth": 0.9 + 1.7 * before, "markersize": 2.6 + 3.0 * before}


def _n_heads(rows: pd.DataFrame) -> str:
    """Say how many heads with a role stand behind the shares that are drawn."""
    number = notes.low_to_high(rows.loc[rows["pct"].notna(), "n_heads"])
    return f"{number} {'head' if number == '1' else 'heads'}"


def why_undefined(statuses: pd.Series[str]) -> str:
    """Say in words why nothing is defined; the most frequent reason, if there are several.

    That a model does not do the task yet is a reason only where it never does.
    """
    able = statuses[statuses != Status.NO_BEHAVIOUR]
    status = str((able if len(able) else statuses).mode().iloc[0])
    return REASONS.get(status, status.replace("_", " "))
