"""Scores of attention heads over training: of all models, of each model, of tertiary heads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from circuitlapse.figures import layout, style
from circuitlapse.figures.lines import (
    AT_CHANCE,
    COMPONENTS,
    NEAR_CHANCE,
    Rows,
    chance_handles,
    chance_of,
    draw_chance,
    draw_heads,
    draw_line,
    is_near_chance,
    limits_of,
    looks_of,
    name_row,
    near_chance_handles,
    no_head,
    of_score,
    say_empty,
    title_of,
    why_empty,
)
from circuitlapse.figures.style import SIZE, shorten
from circuitlapse.heads.naming import Naming
from circuitlapse.tables.head_choice import (
    Head,
    best_at_each_step,
    count_above,
    ever_best,
    first_to_rise,
    most_often_in_circuit,
    nameable,
    of_heads,
    within_range,
)

SHARE = 0.33
"""Share of the highest score that the head to follow has to reach first."""
THRESHOLDS = {"succession": 0.4, "induction": 0.4, "cspa": 0.1, "copy": 0.1}
"""A head counts above this, for scores as drawn: `copy` is divided by 100."""

MOST_HEADS = 5
SHARES = {"succession": 0.4, "induction": 0.25, "cspa": 0.25, "copy": 0.25}
"""Share of the highest score of a model that a head has to reach to be drawn."""
TERTIARY = ("induction", "duplicate", "prev_token")
"""Scores of the heads that S-inhibition heads read, and of the heads that those read."""
Chooser = Callable[[str, pd.DataFrame], Sequence[Head]]
"""From a score and the rows of one model to the heads to draw."""


class Column(NamedTuple):
    """The panels of one score."""

    one: Axes
    best: Axes
    many: Axes


class Curve(NamedTuple):
    """The line of one model: columns step, tokens, value; and the name of its head, or why none."""

    line: pd.DataFrame
    name: str


def components_figure(
    components: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Collection[str],
    lengths: Sequence[int],
    role_rule: str,
    min_step: int,
) -> Figure:
    """Draw four scores of heads against training tokens by three rules, one line per model.

    The first row follows one head per model, as in figure 2 of Tigges et al. 2024. The rule is
    `head_choice.first_to_rise`; copy suppression outside [0, 1] is drawn as 0, in this row only.
    The key below each panel names the head, with a star if it stays near chance. The second row has
    the highest score of all heads at each step, the third the number of heads above a threshold.

    Args:
        components: the table `components`.
        labels: models to draw and their names, in the order of the legend.
        tasks: tasks of the run; the first row is empty for scores that belong to another task.
        lengths: numbers of random tokens, for the chance level of `induction`.
        role_rule: by `controlled`, only heads that `Naming` allows are drawn.
        min_step: first step to draw and to choose heads from; the logarithmic axis never shows
            step 0.
    """
    looks, naming = style.looks(labels), Naming(role_rule, lengths)
    with style.in_style():
        titles = [title_of(score) for score in COMPONENTS]
        panels = Rows([titles, [""] * 4, [""] * 4])
        for index, score in enumerate(COMPONENTS):
            analysed = of_score(components, score, models=labels)
            rows = style.drawable(analysed, min_step=min_step)
            column = Column(*panels.grid[:, index])
            column.many.set_ylabel(f"Heads > {THRESHOLDS[score]:g}")
            if rows["value"].isna().all():
                for axes in column:
                    say_empty(axes, why_empty(analysed, min_step=min_step))
                continue
            chance = chance_of(score, rows, lengths=lengths)
            own = {model: rows[rows["model"] == model] for model in looks}
            named = {model: nameable(of, naming) for model, of in own.items()}
            why = no_head(rows, pd.concat([*named.values()]), tasks)
            models = {model: (own[model], named[model]) for model in looks}
            names = _draw_score(column, models, score=score, looks=looks, chance=chance, why=why)
            if rows["task"].isin(list(tasks)).any():
                key = [look._replace(label=names[model]) for model, look in looks.items()]
                panels.key(0, index, key, title=_key_title(rows))
        panels.grid[0, 0].set_ylabel("One head per model,\nfirst to rise")
        panels.grid[1, 0].set_ylabel("Best head\nat each step")
        figure = panels.finish()
        marks = [*chance_handles(figure), *near_chance_handles(panels.names())]
        layout.legend_below(figure, [*layout.model_handles(looks.values()), *marks])
    return figure


def _draw_score(
    column: Column,
    models: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    *,
    score: str,
    looks: Mapping[str, style.Look],
    chance: float | None,
    why: str,
) -> dict[str, str]:
    """Draw the panels of a score; return model -> its head in the first panel, or why none.

    `models` has the rows of every model, and those of the heads that the score may name. The first
    panel says `why` if no model has a head, and so does the second if no model has a line.
    """
    chosen = {model: _one_head(own, named, score) for model, (own, named) in models.items()}
    one = {model: curve.line for model, curve in chosen.items()}
    best = {model: best_at_each_step(named) for model, (_, named) in models.items()}
    counts = {model: _count(own, named, score) for model, (own, named) in models.items()}
    for axes, lines in zip(column, (one, best, counts), strict=True):
        for model, line in lines.items():
            draw_line(axes, line, look=looks[model])
    shown = pd.concat([*one.values(), *best.values()])["value"]
    for axes in (column.one, column.best):
        axes.set_ylim(*limits_of(shown))
        layout.make_room(axes, n_lines=1)
    column.many.set_ylim(*limits_of([1.0, *pd.concat([*counts.values()])["value"]]))
    column.many.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    known = pd.concat([own for own, _ in models.values()]).dropna(subset="value")
    layout.say_n(column.one, known)
    draw_chance(column.best, chance)
    if all(line["value"].isna().all() for line in best.values()):
        layout.say(column.best, AT_CHANCE)
    if all(line.empty for line in one.values()):
        layout.say(column.one, why)
    else:
        draw_chance(column.one, chance)
    stars = {model: is_near_chance(curve.line["value"], chance) for model, curve in chosen.items()}
    return {
        model: curve.name + NEAR_CHANCE * (len(curve.line) > 0 and stars[model])
        for model, curve in chosen.items()
    }


def _count(rows: pd.DataFrame, named: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the number of heads above the threshold at each step, of those that may be named."""
    outside = rows["value"].notna() & ~rows.index.isin(named.index)
    return count_above(
        rows.assign(value=rows["value"].mask(outside, 0.0)), threshold=THRESHOLDS[score]
    )


def _one_head(rows: pd.DataFrame, named: pd.DataFrame, score: str) -> Curve:
    """Return the head chosen by the rule of the paper, with values as the paper draws them."""
    none = pd.DataFrame(columns=["step", "tokens", "value"], dtype="float64")
    if rows["value"].isna().all():
        return Curve(none, "no data" if rows.empty else "undefined")
    if named.empty:
        return Curve(none, "at chance")
    shown = within_range(named, 0.0, 1.0) if score == "cspa" else named
    head = first_to_rise(shown, share=SHARE)
    return Curve(of_heads(shown, [head])[head], head.name) if head else Curve(none, "none")


def _key_title(rows: pd.DataFrame) -> str:
    """Say which task the circuits with these heads belong to."""
    (task, *_) = rows["task"]
    return shorten(f"in {style.task_short(task)} circuits:", 90.0, size=SIZE)


def components_per_model_figure(
    components: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    tasks: Collection[str],
    lengths: Sequence[int],
    role_rule: str,
    min_step: int,
) -> Figure:
    """Draw four scores of up to five heads per model, a row per model.

    Candidates reach a share (`SHARES`) of the highest score of the model at some step. Of these,
    the heads that are in circuits at the most steps are drawn. A head has one colour and marker in
    all panels of its model. Keys below the panels name it, with a star if it stays near chance.

    Args:
        components: the table `components`.
        labels: models to draw and their names, from top to bottom.
        tasks: tasks of the run; a score that belongs to another task has no heads.
        lengths: numbers of random tokens, for the chance level of `induction`.
        role_rule: by `controlled`, only heads that `Naming` allows are drawn.
        min_step: first step to draw and to choose heads from; the logarithmic axis never shows
            step 0.
    """

    def choose(score: str, rows: pd.DataFrame) -> list[Head]:
        return most_often_in_circuit(rows, share=SHARES[score], limit=MOST_HEADS)

    return _rows_of_models(
        components,
        COMPONENTS,
        choose,
        labels=labels,
        tasks=tasks,
        lengths=lengths,
        role_rule=role_rule,
        min_step=min_step,
    )


def tertiary_heads_figure(
    components: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    lengths: Sequence[int],
    role_rule: str,
    min_step: int,
) -> Figure:
    """Draw every induction, duplicate-token and previous-token head that is best at some step.

    There is a row per model. A head has one colour and marker in all panels of its model. Keys
    below the panels name the heads in the order in which they lead, with a star if they stay near
    chance.

    Args:
        components: the table `components`.
        labels: models to draw and their names, from top to bottom.
        lengths: numbers of random tokens, for the chance levels of the scores.
        role_rule: by `controlled`, only heads that `Naming` allows are drawn.
        min_step: first step to draw and to choose heads from; the logarithmic axis never shows
            step 0.
    """

    def choose(_: str, rows: pd.DataFrame) -> list[Head]:
        return ever_best(rows)

    return _rows_of_models(
        components,
        TERTIARY,
        choose,
        labels=labels,
        tasks=(),
        lengths=lengths,
        role_rule=role_rule,
        min_step=min_step,
    )


def _rows_of_models(
    components: pd.DataFrame,
    scores: Sequence[str],
    choose: Chooser,
    *,
    labels: Mapping[str, str],
    tasks: Collection[str],
    lengths: Sequence[int],
    role_rule: str,
    min_step: int,
) -> Figure:
    """Draw the heads that `choose` picks: a row per model, a column per score."""
    naming = Naming(role_rule, lengths)
    with style.in_style():
        titles = [title_of(score) for score in scores]
        panels = Rows([titles, *[[""] * len(scores)] * (len(labels) - 1)])
        for row, (model, label) in enumerate(labels.items()):
            name_row(panels.grid[row, 0], label)
            analysed = {score: of_score(components, score, models=[model]) for score in scores}
            own = {score: style.drawable(of, min_step=min_step) for score, of in analysed.items()}
            named = {score: nameable(rows, naming) for score, rows in own.items()}
            heads = {score: choose(score, rows) for score, rows in named.items()}
            why = {
                score: no_head(rows, named[score], tasks)
                if rows["value"].notna().any()
                else why_empty(analysed[score], min_step=min_step)
                for score, rows in own.items()
            }
            _draw_model(panels, row, own, heads=heads, why=why, lengths=lengths)
        figure = panels.finish()
        marks = [*chance_handles(figure), *near_chance_handles(panels.names())]
        layout.legend_below(figure, marks)
    return figure


def _draw_model(
    panels: Rows,
    row: int,
    rows: Mapping[str, pd.DataFrame],
    *,
    heads: Mapping[str, Sequence[Head]],
    why: Mapping[str, str],
    lengths: Sequence[int],
) -> None:
    looks = looks_of(heads.values())
    for column, (axes, (score, own)) in enumerate(zip(panels.grid[row], rows.items(), strict=True)):
        if not heads[score]:
            say_empty(axes, why[score])
            continue
        chance = chance_of(score, own, lengths=lengths)
        draw_chance(axes, chance)
        draw_heads(axes, own, heads[score], looks=looks)
        drawn = own.merge(pd.DataFrame(heads[score], columns=["layer", "head"]))
        axes.set_ylim(*limits_of(drawn["value"]))
        panels.key(row, column, [_named(looks[head], own, head, chance) for head in heads[score]])


def _named(look: style.Look, rows: pd.DataFrame, head: Head, chance: float | None) -> style.Look:
    values = of_heads(rows, [head])[head]["value"]
    return look._replace(label=look.label + NEAR_CHANCE * is_near_chance(values, chance))
