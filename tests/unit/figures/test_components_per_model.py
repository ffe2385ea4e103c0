from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.components import components_per_model_figure, tertiary_heads_figure
from tests.unit.figures.conftest import LABELS, TASKS
from tests.unit.figures.head_tables import make_components

STEPS = (0, 64, 512, 4000, 33000, 143000)


@pytest.fixture(scope="module")
def table():
    return make_components(steps=STEPS)


@pytest.fixture(scope="module")
def grid(table):
    """The panels of the whole table, [model, score]."""
    figure = components_per_model_figure(table, labels=LABELS, tasks=TASKS, length=100)
    return np.array(figure.axes).reshape(len(LABELS), 4)


def lines_of(axes) -> dict[str, np.ndarray]:
    """The values of each head that is drawn."""
    lines = [line for line in axes.lines if line.get_label() != "_chance"]
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in lines}


def matrix(table: pd.DataFrame, model: str, score: str) -> pd.DataFrame:
    rows = table[(table["model"] == model) & (table["score"] == score) & (table["step"] > 0)]
    wide = rows.pivot(index="step", columns=["layer", "head"], values="value")
    wide.columns = [f"a{layer}.h{head}" for layer, head in wide.columns]
    return wide.astype("float64")


def test_heads_high_and_often_in_circuits_are_drawn_as_the_table_has_them(grid, table, labels):
    for row, model in enumerate(labels):
        values = matrix(table, model, "induction")
        drawn = lines_of(grid[row, 1])
        assert 1 <= len(drawn) <= 5
        for name, line in drawn.items():
            np.testing.assert_array_equal(line, values[name])
            assert values[name].max() >= 0.25 * values.max().max()
        key = [text.get_text() for text in grid[row, 1].get_legend().get_texts()]
        assert [name.rstrip("*") for name in key] == list(drawn)
        assert grid[row, 0].get_ylabel() == labels[model]


def test_a_head_looks_alike_in_all_panels_of_its_model(grid):
    for row in grid:
        looks = {
            (line.get_label(), line.get_color(), line.get_marker())
            for axes in row
            for line in axes.lines
            if line.get_label() != "_chance"
        }
        assert len(looks) == len({name for name, _, _ in looks})
        assert len(looks) == len({(colour, marker) for _, colour, marker in looks})


def test_every_tertiary_head_that_leads_at_some_step_is_drawn(table, labels):
    figure = tertiary_heads_figure(table, labels=labels, length=100)
    grid = np.array(figure.axes).reshape(len(labels), 3)
    assert [axes.get_title() for axes in grid[0]] == [
        *("Induction", "Duplicate token", "Previous token"),
    ]
    for row, model in enumerate(labels):
        for column, score in enumerate(("induction", "duplicate", "prev_token")):
            values = matrix(table, model, score)
            drawn = lines_of(grid[row, column])
            assert list(drawn) == list(dict.fromkeys(values.idxmax(axis=1)))
            for name, line in drawn.items():
                np.testing.assert_array_equal(line, values[name])


def test_panels_without_heads_say_why(table):
    labels = {"small": "Small", "absent": "Absent"}
    rows = table[table["model"] == "small"].copy()
    rows.loc[rows["score"] == "cspa", ["value", "status"]] = [np.nan, "no_effect"]
    rows.loc[rows["score"] == "copy", "in_circuit"] = pd.NA
    figure = components_per_model_figure(rows, labels=labels, tasks=TASKS, length=100)
    words = [" ".join(t.get_text() for t in axes.texts).split() for axes in figure.axes]
    found = [" ".join(word) for word in words]
    assert found[2:4] == ["not defined: heads have no effect", "no circuit contains such a head"]
    assert found[4:] == ["not analysed"] * 4


def test_a_score_whose_task_is_not_in_the_run_says_so(table):
    rows = table.copy()
    rows.loc[rows["task"] == "greater_than", "in_circuit"] = pd.NA
    figure = components_per_model_figure(rows, labels=LABELS, tasks=["ioi"], length=100)
    for row in np.array(figure.axes).reshape(len(LABELS), 4):
        words = [" ".join(text.get_text().split()) for axes in row[:2] for text in axes.texts]
        assert words == ["no such task in this run"] * 2
        assert not any(axes.texts for axes in row[2:])


@pytest.mark.parametrize(("factor", "starred"), [(1.9, True), (2.1, False)])
def test_a_head_that_stays_below_twice_chance_has_a_star(table, factor, starred):
    """Chance of 100 random tokens that come twice: the mean of 1/101 ... 1/200, 0.0069."""
    one = table[(table["model"] == "small") & (table["score"] == "induction")].copy()
    one = one[(one["layer"] == 0) & (one["head"] == 0)]
    chance = np.mean([1 / (query + 1) for query in range(100, 200)])
    one["value"] = np.float32(factor * chance) * (one["step"] == 4000)
    figure = tertiary_heads_figure(one, labels={"small": "Small"}, length=100)
    (name,) = figure.axes[0].get_legend().get_texts()
    assert name.get_text() == ("a0.h0*" if starred else "a0.h0")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(text.startswith("* never reaches twice chance") for text in legend) == starred


@pytest.mark.parametrize(
    "draw", [partial(components_per_model_figure, tasks=TASKS), tertiary_heads_figure]
)
@pytest.mark.parametrize("steps", [STEPS, (4000,)], ids=["steps", "one step"])
def test_it_can_be_printed(table, draw, steps, check_print):
    rows = table[table["step"].isin(steps) & (table["model"] != "large")]
    far = rows.assign(layer=rows["layer"] + 28, head=rows["head"] + 28)
    labels = {"small": "Small (0.1 M), deduplicated text, run 2", "absent": "None"}
    check_print(draw(far, labels=labels, length=100))
