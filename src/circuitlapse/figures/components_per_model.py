"""The heads of each model that score high and are in its circuits, over training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from circuitlapse.component_choice import Head, ever_best, most_often_in_circuit
from circuitlapse.figures import style
from circuitlapse.figures.head_lines import (
    Rows,
    chance_handle,
    chance_is_drawn,
    draw_chance,
    draw_heads,
    limits_of,
    looks_of,
    name_row,
    say_empty,
)
from circuitlapse.figures.head_scores import (
    COMPONENTS,
    NO_CIRCUIT_HEAD,
    SHOWN,
    chance_of,
    of_score,
    why_empty,
)

MOST_HEADS = 5
SHARES = {"succession": 0.4, "induction": 0.25, "cspa": 0.25, "copy": 0.25}
"""Of a model's highest score, what a head has to reach to be drawn."""
TERTIARY = ("induction", "duplicate", "prev_token")
"""Scores of the heads that S-inhibition heads listen to, and of those that these listen to."""

Chooser = Callable[[str, pd.DataFrame], Sequence[Head]]
"""Takes a score and one model's rows of it, and returns the heads to draw."""


def components_per_model_figure(
    table: pd.DataFrame, *, labels: Mapping[str, str], length: int, min_step: int = 1
) -> Figure:
    """Draw four scores of up to five heads per model, a row per model.

    They are the heads that are circuit nodes most often, among those whose maximum over time is
    at least a share of the model's highest score (`SHARES`). A head has one colour and marker in
    all panels of its model; the keys below the panels name it.

    Args:
        table: the table `components`.
        labels: the models to draw, from top to bottom, and their names.
        length: number of random tokens behind `induction`, for its chance level.
        min_step: earlier steps are left out, also from the choice of heads; step 0 always is,
            for the axis is logarithmic.
    """

    def choose(score: str, rows: pd.DataFrame) -> list[Head]:
        return most_often_in_circuit(rows, share=SHARES[score], limit=MOST_HEADS)

    return _figure(table, COMPONENTS, choose, labels=labels, length=length, min_step=min_step)


def tertiary_heads_figure(
    table: pd.DataFrame, *, labels: Mapping[str, str], length: int, min_step: int = 1
) -> Figure:
    """Draw every induction, duplicate-token and previous-token head that is best at some step.

    There is a row per model. A head has one colour and marker in all panels of its model; the
    keys below the panels name it, the one that is best first first.

    Args:
        table: the table `components`.
        labels: the models to draw, from top to bottom, and their names.
        length: number of random tokens behind the scores, for their chance levels.
        min_step: earlier steps are left out, also from the choice of heads; step 0 always is,
            for the axis is logarithmic.
    """

    def choose(_: str, rows: pd.DataFrame) -> list[Head]:
        return ever_best(rows)

    return _figure(table, TERTIARY, choose, labels=labels, length=length, min_step=min_step)


def _figure(
    table: pd.DataFrame,
    scores: Sequence[str],
    choose: Chooser,
    *,
    labels: Mapping[str, str],
    length: int,
    min_step: int,
) -> Figure:
    with style.in_style():
        titles = [SHOWN[score].title for score in scores]
        panels = Rows([titles, *[[""] * len(scores)] * (len(labels) - 1)])
        for row, (model, label) in enumerate(labels.items()):
            name_row(panels.grid[row, 0], label)
            analysed = {score: of_score(table, score, models=[model]) for score in scores}
            _draw_model(panels, row, analysed, choose=choose, length=length, min_step=min_step)
        figure = panels.finish()
        if chance_is_drawn(figure):
            style.legend_below(figure, [chance_handle()])
    return figure


def _draw_model(
    panels: Rows,
    row: int,
    analysed: Mapping[str, pd.DataFrame],
    *,
    choose: Chooser,
    length: int,
    min_step: int,
) -> None:
    rows = {score: style.drawable(own, min_step=min_step) for score, own in analysed.items()}
    heads = {score: choose(score, own) for score, own in rows.items()}
    looks = looks_of(heads.values())
    for column, (axes, (score, own)) in enumerate(zip(panels.grid[row], rows.items(), strict=True)):
        if own["value"].isna().all():
            say_empty(axes, why_empty(analysed[score], min_step=min_step))
        elif not heads[score]:
            say_empty(axes, NO_CIRCUIT_HEAD)
        else:
            draw_chance(axes, chance_of(score, own, length=length))
            draw_heads(axes, own, heads[score], looks=looks)
            drawn = own.merge(pd.DataFrame(heads[score], columns=["layer", "head"]))
            axes.set_ylim(*limits_of(drawn["value"]))
            panels.key(row, column, [looks[head] for head in heads[score]])
