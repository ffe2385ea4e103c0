"""How much behaviour and circuits differ between models that only differ in their seeds."""

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
from circuitlapse.figures.grids import label_x, make_room_for_names, name_metric, task_columns, thin
from circuitlapse.figures.statuses import no_circuits
from circuitlapse.figures.ticks import label_log

_BOLD = 1.8
"""How much wider a line is that is a mean over seeds."""
_NO_SEEDS = "no model was trained\nwith several seeds"


def seeds_figure(
    behaviour: pd.DataFrame,
    *,
    summary: pd.DataFrame,
    labels: Mapping[str, str],
    variants: Mapping[str, Sequence[str]],
    tasks: Sequence[str],
    min_step: int = 1,
) -> Figure:
    """Draw task metric (top) and circuit size (bottom) of several seeds, a column per task.

    Thin lines are single seeds, each at the steps at which it was analysed. At the steps of all
    seeds of a model, a bold line is their mean, and the shade reaches from the lowest to the
    highest; both break where one has no value. Models with one seed are left out.

    Args:
        behaviour: the table `behaviour`.
        summary: the table `circuit_summary`, of one attribution method.
        labels: the models in the order of the legend, and their names there.
        variants: for each of these, the names of all models that share all but the seed with it,
            itself included.
        tasks: one column each, in this order.
        min_step: earlier steps are left out; step 0 always is, for the axis is logarithmic.

    Raises:
        ArtifactError: if `summary` holds more than one method.
    """
    groups = {model: list(variants.get(model, [])) for model in labels}
    groups = {model: names for model, names in groups.items() if len(names) > 1}
    names = [name for group in groups.values() for name in group]
    tables = [behaviour, style.of_one_method(summary)]
    tables = [table[table["model"].isin(names)] for table in tables]
    looks = {model: look for model, look in style.looks(labels).items() if model in groups}
    with style.in_style():
        figure, columns = task_columns(tasks, heights=(1.6, 1.6), sharey=False)
        for task, panels in columns.items():
            for axes, table, column in zip(panels, tables, ("value", "n_edges"), strict=True):
                analysed = table[table["task"] == task]
                rows = style.drawable(analysed, min_step=min_step)
                if rows[column].notna().any():
                    _draw(axes, rows, column=column, groups=groups, looks=looks)
                else:
                    words = no_circuits(analysed, min_step=min_step) if groups else _NO_SEEDS
                    style.say(axes, words)
            of_task = tables[0][tables[0]["task"] == task]
            name_metric(panels[0], of_task, n_columns=len(tasks))
            panels[1].set_yscale("log")
            label_log(panels[1].yaxis)
        columns[tasks[0]][0].set_ylabel("Task metric")
        columns[tasks[0]][1].set_ylabel("Circuit size\n(edges)")
        label_x(columns, style.TOKENS)
        label_log(columns[tasks[0]][0].xaxis)
        make_room_for_names(figure)
        if groups:
            style.legend_below(figure, _group_handles(looks, groups), _mark_handles())
    return figure


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    column: str,
    groups: Mapping[str, Sequence[str]],
    looks: Mapping[str, style.Look],
) -> None:
    """Draw single seeds, each at its own steps, and their mean and range at those all have."""
    for model, look in looks.items():
        of_group = rows[rows["model"].isin(groups[model])].sort_values("tokens")
        for name in groups[model]:
            own = of_group[of_group["model"] == name]
            thinner = thin(len(own)) | {"linewidth": 0.5, "markersize": 1.5}
            values = own[column].astype("float64")
            axes.plot(own["tokens"], values, color=look.colour, marker=".", label=name, **thinner)
        whole = _over_all(of_group, column=column, n_seeds=len(groups[model]))
        style.draw_band(axes, whole.reset_index(), ("low", "high"), look=look)
        marks = thin(len(whole))
        marks["linewidth"] *= _BOLD
        mean: dict[str, Any] = {"color": look.colour, "marker": look.marker, "label": look.label}
        axes.plot(whole.index, whole["mean"], **mean, **marks)


def _over_all(rows: pd.DataFrame, *, column: str, n_seeds: int) -> pd.DataFrame:
    """Return mean, low and high at the steps of all seeds; NaN where one has no value."""
    values = rows.assign(value=rows[column].astype("float64")).groupby("tokens")["value"]
    whole = values.agg(["mean", "min", "max", "size", "count"])
    whole = whole.rename(columns={"min": "low", "max": "high"})
    whole.loc[whole["count"] < n_seeds, ["mean", "low", "high"]] = float("nan")
    return whole[whole["size"] == n_seeds]


def _group_handles(
    looks: Mapping[str, style.Look], groups: Mapping[str, Sequence[str]]
) -> list[Artist]:
    named = [
        look._replace(label=f"{look.label}, {len(groups[model])} seeds")
        for model, look in looks.items()
    ]
    return style.model_handles(named)


def _mark_handles() -> list[Artist]:
    return [
        Line2D([], [], color=style.GREY, linewidth=_BOLD, label="mean over seeds"),
        Line2D([], [], color=style.GREY, linewidth=0.5, marker=".", label="one seed"),
        Patch(color=style.GREY, alpha=0.25, linewidth=0, label="lowest to highest seed"),
    ]
