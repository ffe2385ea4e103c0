from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.components import (
    SHARE,
    THRESHOLDS,
    components_figure,
    components_per_model_figure,
    tertiary_heads_figure,
)
from circuitlapse.figures.lines import COMPONENTS
from tests.unit.figures.conftest import LABELS, TASKS
from tests.unit.figures.head_tables import make_components

STEPS = (0, 64, 512, 4000, 33000, 143000)
MODEL = "small"
LENGTHS = (40, 100)
"""Of random tokens; the chance level is that of the longest."""


def figure_of(table: pd.DataFrame, labels, *, min_step: int = 1, tasks=(*TASKS, "mine")):
    """The figure and its panels, [rule, score]."""
    figure = components_figure(
        table, labels=labels, tasks=tasks, lengths=LENGTHS, role_rule="paper", min_step=min_step
    )
    return figure, np.array(figure.axes).reshape(3, 4)


@pytest.fixture(scope="module")
def table():
    return make_components(steps=STEPS)


@pytest.fixture(scope="module")
def grid(table):
    """The panels of the whole table, [rule, score]; for tests that only look at them."""
    return figure_of(table, LABELS)[1]


def values_of(axes, label: str) -> np.ndarray:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(line.get_ydata(), dtype=float)


def matrix(table: pd.DataFrame, score: str, column: str = "value") -> np.ndarray:
    """[step, head] of the small model from the second step on."""
    rows = table[(table["model"] == MODEL) & (table["score"] == score) & (table["step"] > 0)]
    return rows.pivot(index="step", columns=["layer", "head"], values=column)


def test_the_columns_are_the_scores_and_the_rows_say_their_rule(grid):
    assert [axes.get_title().split("\n")[0] for axes in grid[0]] == [
        *("Succession", "Induction", "Copy suppression", "Copy score / 100"),
    ]
    assert grid[0, 0].get_ylabel() == "One head per model,\nfirst to rise"
    assert grid[1, 0].get_ylabel() == "Best head\nat each step"
    assert [axes.get_ylabel() for axes in grid[2]] == [
        *("Heads > 0.4", "Heads > 0.4", "Heads > 0.1", "Heads > 0.1"),
    ]
    assert {axes.get_xscale() for axes in grid.flat} == {"log"}


@pytest.mark.parametrize("score", COMPONENTS)
def test_every_row_is_the_table_by_its_rule(grid, table, labels, score):
    """Against dense matrices, without the functions that the figure uses."""
    scale = 0.01 if score == "copy" else 1.0
    values = matrix(table, score).astype("float64") * scale
    shown = values.where((values >= 0) & (values <= 1) | values.isna(), 0.0)
    shown = shown if score == "cspa" else values
    inside = matrix(table, score, "in_circuit").fillna(False).astype(bool).any()
    level = SHARE * shown.max().max()
    rises = {head: shown.index[shown[head] >= level].min() for head in inside.index[inside]}
    rises = {head: step for head, step in rises.items() if step == step}
    head = min(rises, key=lambda head: (rises[head], -shown[head].max(), head))
    one, best, many = grid[:, COMPONENTS.index(score)]
    np.testing.assert_allclose(values_of(one, labels[MODEL]), shown[head])
    np.testing.assert_allclose(values_of(best, labels[MODEL]), values.max(axis=1))
    counts = (values > THRESHOLDS[score]).sum(axis=1)
    np.testing.assert_array_equal(values_of(many, labels[MODEL]), counts)
    key = [text.get_text() for text in one.get_legend().get_texts()]
    assert key[0].rstrip("*") == f"a{head[0]}.h{head[1]}"


def test_copy_suppression_is_zero_outside_its_range_in_the_upper_row_only(table, labels):
    rows = table.copy()
    here = (rows["score"] == "cspa") & (rows["step"] == 4000)
    rows.loc[here, "value"] = rows.loc[here, "value"].where(rows.loc[here, "value"].isna(), -0.3)
    _, grid = figure_of(rows, labels)
    at = 2  # of the steps from 64 on
    assert values_of(grid[0, 2], labels[MODEL])[at + 0] == 0
    assert values_of(grid[1, 2], labels[MODEL])[at + 0] == pytest.approx(-0.3)


def test_the_choice_looks_only_at_the_steps_that_are_drawn(table, labels):
    rows = table.copy()
    early = (rows["score"] == "induction") & (rows["step"] == 64) & (rows["layer"] == 0)
    rows.loc[early & (rows["head"] == 0), "value"] = 1.0
    _, grid = figure_of(rows, labels, min_step=512)
    _, expected = figure_of(table, labels, min_step=512)
    for label in labels.values():
        np.testing.assert_array_equal(
            values_of(grid[0, 1], label), values_of(expected[0, 1], label)
        )


def test_chance_is_drawn_where_it_is_known(grid, table, labels):
    def chance(axes):
        return [line.get_ydata()[0] for line in axes.lines if line.get_label() == "_chance"]

    assert [len(chance(axes)) for axes in grid[0]] == [1, 1, 0, 0]
    assert [len(chance(axes)) for axes in grid[2]] == [0, 0, 0, 0]
    assert chance(grid[0, 1])[0] == pytest.approx(0.0069, abs=5e-5)
    assert chance(grid[0, 0])[0] == pytest.approx(0.026, abs=5e-4)
    fewer = table.assign(n=table["n"].where(table["score"] != "succession", 20))
    figure, grid = figure_of(fewer, labels)
    assert [len(chance(axes)) for axes in grid[0]] == [0, 1, 0, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "chance"


def words_in(axes) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in axes.texts)


def test_a_score_that_is_not_defined_says_why_in_words(table, labels):
    rows = table.copy()
    rows.loc[rows["score"] == "succession", ["value", "status"]] = [np.nan, "no_tokens"]
    _, grid = figure_of(rows, labels)
    for axes in grid[:, 0]:
        assert words_in(axes) == "not defined: the tokenizer lacks the words"
        assert not len(axes.get_yticks())


def test_a_model_without_a_score_or_a_circuit_is_not_passed_over_in_the_key(table, labels):
    rows = table.copy()
    small, medium = (
        (rows["model"] == name) & (rows["score"] == "cspa") for name in list(labels)[:2]
    )
    rows.loc[small, ["value", "status"]] = [np.nan, "no_effect"]
    rows.loc[medium, "in_circuit"] = pd.NA
    _, grid = figure_of(rows[~((rows["model"] == "large") & (rows["score"] == "cspa"))], labels)
    key = [text.get_text() for text in grid[0, 2].get_legend().get_texts()]
    assert key == ["undefined", "none", "no data"]
    assert "no circuit contains such a head" in words_in(grid[0, 2])


def test_a_score_whose_task_is_not_in_the_run_says_so_and_names_no_head(table, labels):
    rows = table.copy()
    rows.loc[rows["task"] == "greater_than", "in_circuit"] = pd.NA
    _, grid = figure_of(rows, labels, tasks=["ioi"])
    for axes in grid[0, :2]:
        assert "no such task in this run" in words_in(axes)
        assert axes.get_legend() is None
    assert grid[0, 2].get_legend() is not None
    assert "no such task" not in words_in(grid[0, 2])


def test_the_followed_head_has_a_star_if_it_stays_near_chance(table, labels):
    rows = table.copy()
    rows.loc[rows["score"] == "induction", "value"] = np.float32(0.01)  # chance is 0.0069
    figure, grid = figure_of(rows, labels)
    names = [text.get_text() for text in grid[0, 1].get_legend().get_texts()]
    assert all(name.endswith("*") for name in names)
    assert figure.legends[0].get_texts()[-1].get_text().startswith("* never reaches twice chance")


def test_an_empty_table_says_so_in_every_panel(table, labels):
    _, grid = figure_of(table[:0], labels)
    assert {words_in(axes) for axes in grid.flat} == {"not analysed"}
    assert not grid[2, 0].xaxis.get_tick_params()["labelbottom"]


@pytest.mark.parametrize("n_models", [1, 8])
def test_it_can_be_printed(table, n_models, check_print):
    small = table[(table["model"] == MODEL) & (table["step"].isin([512, 4000]))]
    names = [f"model-{at}" for at in range(n_models)]
    many = pd.concat([small.assign(model=name, head=small["head"] + 28) for name in names])
    labels = {name: f"{at}.4 B, a longer name" for at, name in enumerate(names)}
    figure, _ = figure_of(many.assign(layer=many["layer"] + 28), labels)
    check_print(figure)


def test_the_key_says_in_which_circuits_the_heads_are(table, labels):
    _, grid = figure_of(table.assign(task=table["task"].replace("ioi", "mine")), labels)
    titles = [axes.get_legend().get_title().get_text() for axes in grid[0]]
    assert titles == ["in GT circuits:"] * 2 + ["in mine circuits:"] * 2


@pytest.fixture(scope="module")
def scores():
    return make_components(steps=STEPS)


@pytest.fixture(scope="module")
def per_model(scores):
    """The panels of the whole scores, [model, score]."""
    figure = components_per_model_figure(
        scores, labels=LABELS, tasks=TASKS, lengths=LENGTHS, role_rule="paper", min_step=1
    )
    return np.array(figure.axes).reshape(len(LABELS), 4)


def lines_of(axes) -> dict[str, np.ndarray]:
    """The values of each head that is drawn."""
    lines = [line for line in axes.lines if line.get_label() != "_chance"]
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in lines}


def matrix_of(scores: pd.DataFrame, model: str, score: str) -> pd.DataFrame:
    rows = scores[(scores["model"] == model) & (scores["score"] == score) & (scores["step"] > 0)]
    wide = rows.pivot(index="step", columns=["layer", "head"], values="value")
    wide.columns = [f"a{layer}.h{head}" for layer, head in wide.columns]
    return wide.astype("float64")


def test_heads_high_and_often_in_circuits_are_drawn_as_the_table_has_them(
    per_model, scores, labels
):
    for row, model in enumerate(labels):
        values = matrix_of(scores, model, "induction")
        drawn = lines_of(per_model[row, 1])
        assert 1 <= len(drawn) <= 5
        for name, line in drawn.items():
            np.testing.assert_array_equal(line, values[name])
            assert values[name].max() >= 0.25 * values.max().max()
        key = [text.get_text() for text in per_model[row, 1].get_legend().get_texts()]
        assert [name.rstrip("*") for name in key] == list(drawn)
        assert per_model[row, 0].get_ylabel() == labels[model]


def test_a_head_looks_alike_in_all_panels_of_its_model(per_model):
    for row in per_model:
        looks = {
            (line.get_label(), line.get_color(), line.get_marker())
            for axes in row
            for line in axes.lines
            if line.get_label() != "_chance"
        }
        assert len(looks) == len({name for name, _, _ in looks})
        assert len(looks) == len({(colour, marker) for _, colour, marker in looks})


def test_every_tertiary_head_that_leads_at_some_step_is_drawn(scores, labels):
    figure = tertiary_heads_figure(
        scores, labels=labels, lengths=LENGTHS, role_rule="paper", min_step=1
    )
    per_model = np.array(figure.axes).reshape(len(labels), 3)
    assert [axes.get_title() for axes in per_model[0]] == [
        *("Induction", "Duplicate token", "Previous token"),
    ]
    for row, model in enumerate(labels):
        for column, score in enumerate(("induction", "duplicate", "prev_token")):
            values = matrix_of(scores, model, score)
            drawn = lines_of(per_model[row, column])
            assert list(drawn) == list(dict.fromkeys(values.idxmax(axis=1)))
            for name, line in drawn.items():
                np.testing.assert_array_equal(line, values[name])


def test_panels_without_heads_say_why(scores):
    labels = {"small": "Small", "absent": "Absent"}
    rows = scores[scores["model"] == "small"].copy()
    rows.loc[rows["score"] == "cspa", ["value", "status"]] = [np.nan, "no_effect"]
    rows.loc[rows["score"] == "copy", "in_circuit"] = pd.NA
    figure = components_per_model_figure(
        rows, labels=labels, tasks=TASKS, lengths=LENGTHS, role_rule="paper", min_step=1
    )
    words = [" ".join(t.get_text() for t in axes.texts).split() for axes in figure.axes]
    found = [" ".join(word) for word in words]
    assert found[2:4] == ["not defined: heads have no effect", "no circuit contains such a head"]
    assert found[4:] == ["not analysed"] * 4


def test_a_score_whose_task_is_not_in_the_run_says_so(scores):
    rows = scores.copy()
    rows.loc[rows["task"] == "greater_than", "in_circuit"] = pd.NA
    figure = components_per_model_figure(
        rows, labels=LABELS, tasks=["ioi"], lengths=LENGTHS, role_rule="paper", min_step=1
    )
    for row in np.array(figure.axes).reshape(len(LABELS), 4):
        words = [" ".join(text.get_text().split()) for axes in row[:2] for text in axes.texts]
        assert words == ["no such task in this run"] * 2
        assert not any(axes.texts for axes in row[2:])


@pytest.mark.parametrize(("factor", "starred"), [(1.9, True), (2.1, False)])
def test_a_head_that_stays_below_twice_chance_has_a_star(scores, factor, starred):
    """Chance of 100 random tokens that come twice: the mean of 1/101 ... 1/200, 0.0069."""
    one = scores[(scores["model"] == "small") & (scores["score"] == "induction")].copy()
    one = one[(one["layer"] == 0) & (one["head"] == 0)]
    chance = np.mean([1 / (query + 1) for query in range(100, 200)])
    one["value"] = np.float32(factor * chance) * (one["step"] == 4000)
    figure = tertiary_heads_figure(
        one, labels={"small": "Small"}, lengths=LENGTHS, role_rule="paper", min_step=1
    )
    (name,) = figure.axes[0].get_legend().get_texts()
    assert name.get_text() == ("a0.h0*" if starred else "a0.h0")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(text.startswith("* never reaches twice chance") for text in legend) == starred


@pytest.mark.parametrize(
    "draw", [partial(components_per_model_figure, tasks=TASKS), tertiary_heads_figure]
)
@pytest.mark.parametrize("steps", [STEPS, (4000,)], ids=["steps", "one step"])
def test_per_model_it_can_be_printed(scores, draw, steps, check_print):
    rows = scores[scores["step"].isin(steps) & (scores["model"] != "large")]
    far = rows.assign(layer=rows["layer"] + 28, head=rows["head"] + 28)
    labels = {"small": "Small (0.1 M), deduplicated text, run 2", "absent": "None"}
    check_print(draw(far, labels=labels, lengths=LENGTHS, role_rule="paper", min_step=1))


def at_chance(table: pd.DataFrame) -> pd.DataFrame:
    """The table of models with uniform attention: induction and the like are at chance."""
    rows = table.copy()
    for score, level in {"induction": 0.0069, "duplicate": 0.0069, "prev_token": 0.0245}.items():
        here = rows["score"] == score
        draw = np.random.default_rng(0).uniform(0.8, 1.5, here.sum())
        rows.loc[here, "value"] = (level * draw).astype("float32")
    return rows


def test_a_component_whose_best_head_is_at_chance_draws_no_line_and_is_said_to_be_absent(table):
    given = {"labels": LABELS, "lengths": LENGTHS, "min_step": 1}
    absent = "absent: at chance, or only in layer 0"
    rows = at_chance(table)
    figure = components_figure(rows, tasks=TASKS, role_rule="controlled", **given)
    one, best, many = np.array(figure.axes).reshape(3, 4)[:, 1]
    for axes in (one, best):
        assert absent in words_in(axes)
        assert all(np.isnan(line).all() for line in lines_of(axes).values())
    assert all((line == 0).all() for line in lines_of(many).values())
    key = [text.get_text() for text in one.get_legend().get_texts()]
    assert key == ["at chance"] * len(LABELS)
    figure = components_per_model_figure(rows, tasks=TASKS, role_rule="controlled", **given)
    for axes in np.array(figure.axes).reshape(len(LABELS), 4)[:, 1]:
        assert words_in(axes) == absent
    figure = tertiary_heads_figure(rows, role_rule="controlled", **given)
    for axes in figure.axes:
        assert words_in(axes) == absent
    figure = tertiary_heads_figure(rows, role_rule="paper", **given)
    assert all(lines_of(axes) for axes in figure.axes)


def test_heads_of_layer_0_are_not_drawn_as_induction_heads(table):
    rows = table.copy()
    first = (rows["score"] == "induction") & (rows["layer"] == 0)
    rows.loc[first, "value"] = np.float32(1)
    figure = tertiary_heads_figure(
        rows, labels=LABELS, lengths=LENGTHS, role_rule="controlled", min_step=1
    )
    for axes in np.array(figure.axes).reshape(len(LABELS), 3)[:, 0]:
        assert lines_of(axes)
        assert not any(name.startswith("a0") for name in lines_of(axes))
