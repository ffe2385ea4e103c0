"""How a model does with heads taken from another training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuitlapse.figures import style
from circuitlapse.types import RANDOM_LIKE


def swaps_figure(swaps: pd.DataFrame, *, labels: Mapping[str, str], tasks: Sequence[str]) -> Figure:
    """Draw the metric with and without swapped heads against the step of the rest of the model.

    A row per model, a column per task; of several sources the last step is drawn. Solid lines
    have heads with a role; their bars are the bootstrap interval of the difference to what was
    not swapped. Dotted lines of the same colour have as many random heads, a mean over draws;
    the shade reaches from the lowest to the highest draw.

    Args:
        swaps: the table `swaps`.
        labels: the models to draw, one row each, and their names.
        tasks: one column each; tasks without a swap are left out.
    """
    rows = swaps[swaps["model"].isin(labels) & swaps["task"].isin(tasks)]
    columns = [task for task in tasks if (rows["task"] == task).any()] or list(tasks[:1])
    sets = [name for name in dict.fromkeys(rows["head_set"]) if not name.startswith(RANDOM_LIKE)]
    looks = style.looks({name: name.replace("_", " ") for name in sets})
    with style.in_style():
        size = (style.WIDTH_IN, 1.9 * len(labels) + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(labels), len(columns), squeeze=False)
        for (model, label), line in zip(labels.items(), grid, strict=True):
            for task, axes in zip(columns, line, strict=True):
                of_panel = rows[(rows["model"] == model) & (rows["task"] == task)]
                axes.set_title(
                    style.across(
                        f"{label}: {style.task_title(task)}", len(columns), size=style.TITLE_SIZE
                    )
                )
                _draw_panel(axes, of_panel, looks=looks)
        style.legend_below(figure, style.model_handles(looks.values()), _line_handles(rows))
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, *, looks: Mapping[str, style.Look]) -> None:
    axes.set_xlabel("Step of the rest of the model")
    if rows["swapped"].isna().all():
        return style.say(axes, "not swapped" if rows.empty else "no such heads")
    rows = rows[rows["source_step"] == rows["source_step"].max()].sort_values("target_step")
    base = rows.drop_duplicates("target_step")
    axes.plot(base["target_step"], base["baseline"], color="black", linewidth=1.6, label="_base")
    for name, look in looks.items():
        _draw_set(axes, rows[rows["head_set"] == name], look=look)
        _draw_control(axes, rows[rows["head_set"] == RANDOM_LIKE + name], look=look)
    axes.set_ylabel(style.metric_title(rows))
    axes.set_xscale("symlog", linthresh=max(1, base["target_step"][lambda s: s > 0].min()))
    source = rows["source_step"].iloc[0]
    style.make_room(axes, n_lines=1)
    return style.note(axes, f"heads of step {source}, {style.n_prompts(rows)}")


def _draw_set(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["target_step"], rows["swapped"], color=look.colour, marker=look.marker)
    low, high = (rows["baseline"] + rows[f"difference_{end}"] for end in ("low", "high"))
    axes.vlines(rows["target_step"], low, high, color=look.colour, linewidth=0.8)


def _draw_control(axes: Axes, rows: pd.DataFrame, *, look: style.Look) -> None:
    rows = rows.dropna(subset="swapped")
    axes.plot(rows["target_step"], rows["swapped"], ":", color=look.colour)
    at = rows.rename(columns={"target_step": "tokens"})
    style.draw_band(axes, at, ("lowest_draw", "highest_draw"), look=look)


def _line_handles(rows: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [Line2D([], [], color="black", linewidth=1.6, label="nothing swapped")]
    bar: dict[str, Any] = {"marker": "|", "markersize": 8, "linestyle": "none"}
    handles.append(Line2D([], [], color=style.GREY, label="bootstrap interval", **bar))
    if rows["head_set"].str.startswith(RANDOM_LIKE).any():
        label = "as many random heads"
        handles.append(Line2D([], [], color=style.GREY, linestyle=":", label=label))
        shade: dict[str, Any] = {"color": style.GREY, "alpha": 0.25, "linewidth": 0}
        handles.append(Patch(label="lowest to highest draw", **shade))
    return handles
