"""The heads of each model that score high and are in its circuits, over training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from circuitlapse.component_choice import Head, ever_best, most_often_in_circuit, of_heads
from circuitlapse.figures import legends, style
from circuitlapse.figures.head_lines import (
    NEAR_CHANCE,
    Rows,
    chance_handle,
    chance_is_drawn,
    draw_chance,
    draw_heads,
    is_near_chance,
    limits_of,
    looks_of,
    name_row,
    near_chance_handles,
    say_empty,
)
from circuitlapse.figures.head_scores import (
    COMPONENTS,
    SHOWN,
    chance_of,
    no_head,
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
    table: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Collection[str],
    length: int,
    min_step: int = 1,
) -> Figure:
    """Draw four scores of up to five heads per model, a row per model.

    They are the heads that are circuit nodes most often, among those whose maximum over time is
    at least a share of the model's highest score (`SHARES`). A head has one colour and marker in
    all panels of its model; the keys below the panels name it, with a star if it stays near chance.

    Args:
        table: the table `components`.
        labels: the models to draw, from top to bottom, and their names.
        tasks: the tasks of the run; in circuits of another there is no head.
        length: number of random tokens behind `induction`, for its chance level.
        min_step: earlier steps are left out, also from the choice of heads; step 0 always is,
            for the axis is logarithmic.
    """

    def choose(score: str, rows: pd.DataFrame) -> list[Head]:
        return most_often_in_circuit(rows, share=SHARES[score], limit=MOST_HEADS)

    return _figure(
        table, COMPONENTS, choose, labels=labels, tasks=tasks, length=length, min_step=min_step
    )


def tertiary_heads_figure(
    table: pd.DataFrame, *, labels: Mapping[str, str], length: int, min_step: int = 1
) -> Figure:
    """Draw every induction, duplicate-token and previous-token head that is best at some step.

    There is a row per model. A head has one colour and marker in all panels of its model; the
    keys below the panels name it, the one that is best first first, with a star if it stays near
    chance.

    Args:
        table: the table `components`.
        labels: the models to draw, from top to bottom, and their names.
        length: number of random tokens behind the scores, for their chance levels.
        min_step: earlier steps are left out, also from the choice of heads; step 0 always is,
            for the axis is logarithmic.
    """

    def choose(_: str, rows: pd.DataFrame) -> list[Head]:
        return ever_best(rows)

    return _figure(
        table, TERTIARY, choose, labels=labels, tasks=(), length=length, min_step=min_step
    )


def _figure(
    table: pd.DataFrame,
    scores: Sequence[str],
    choose: Chooser,
    *,
    labels: Mapping[str, str],
    tasks: Collection[str],
    length: int,
    min_step: int,
) -> Figure:
    with style.in_style():
        titles = [SHOWN[score].title for score in scores]
        panels = Rows([titles, *[[""] * len(scores)] * (len(labels) - 1)])
        for row, (model, label) in enumerate(labels.items()):
            name_row(panels.grid[row, 0], label)
            analysed = {score: of_score(table, score, models=[model]) for score in scores}
            own = {score: style.drawable(of, min_step=min_step) for score, of in analysed.items()}
            heads = {score: choose(score, rows) for score, rows in own.items()}
            why = {
                score: no_head(rows, tasks)
                if rows["value"].notna().any()
                else why_empty(analysed[score], min_step=min_step)
                for score, rows in own.items()
            }
            _draw_model(panels, row, own, heads=heads, why=why, length=length)
        figure = panels.finish()
        chance = [chance_handle()] if chance_is_drawn(figure) else []
        if marks := [*chance, *near_chance_handles(panels.names())]:
            legends.legend_below(figure, marks)
    return figure


def _draw_model(
    panels: Rows,
    row: int,
    rows: Mapping[str, pd.DataFrame],
    *,
    heads: Mapping[str, Sequence[Head]],
    why: Mapping[str, str],
    length: int,
) -> None:
    looks = looks_of(heads.values())
    for column, (axes, (score, own)) in enumerate(zip(panels.grid[row], rows.items(), strict=True)):
        if not heads[score]:
            say_empty(axes, why[score])
            continue
        chance = chance_of(score, own, length=length)
        draw_chance(axes, chance)
        draw_heads(axes, own, heads[score], looks=looks)
        drawn = own.merge(pd.DataFrame(heads[score], columns=["layer", "head"]))
        axes.set_ylim(*limits_of(drawn["value"]))
        panels.key(row, column, [_named(looks[head], own, head, chance) for head in heads[score]])


def _named(look: style.Look, rows: pd.DataFrame, head: Head, chance: float | None) -> style.Look:
    values = of_heads(rows, [head])[head]["value"]
    return look._replace(label=look.label + NEAR_CHANCE * is_near_chance(values, chance))
