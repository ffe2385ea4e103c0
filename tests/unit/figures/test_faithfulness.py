from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.faithfulness import faithfulness_figure
from tests.unit.figures.conftest import make_curve, make_rankings, make_summary

LAST = 143000


@pytest.fixture
def draw(curve, rankings, summary, labels, tasks):
    def figure(**changes: object):
        tables = {
            "faithfulness_curve": curve,
            "ranking_curve": rankings,
            "circuit_summary": summary,
            "tasks": tasks,
        }
        tables |= changes
        tables = {"labels": labels} | tables
        return faithfulness_figure(threshold=0.8, **tables)

    return figure


def test_axes_carry_units_and_x_is_logarithmic(draw, tasks):
    for axes in draw().axes[: len(tasks)]:
        assert axes.get_xlabel() == "Circuit size (edges)"
        assert axes.get_ylabel() == "Faithfulness (circuit / model)"
        assert axes.get_xscale() == "log"


def test_every_line_is_the_last_step_without_empty_circuits(
    draw, curve, labels, tasks, drawn_line, pick
):
    for task, axes in zip(tasks, draw().axes, strict=True):
        for model, label in labels.items():
            rows = pick(curve, model=model, task=task, step=LAST)
            expected = rows.loc[rows["n_edges"] > 0, ["n_edges", "f_raw"]]
            np.testing.assert_array_equal(drawn_line(axes, label), expected)


def test_each_model_is_drawn_at_its_own_last_step(draw, curve, summary, labels, drawn_line):
    shorter, sooner = (
        t[~((t["model"] == "small") & (t["step"] == LAST))] for t in (curve, summary)
    )
    line = drawn_line(
        draw(faithfulness_curve=shorter, circuit_summary=sooner).axes[0], labels["small"]
    )
    rows = curve.query("model == 'small' and task == 'ioi' and step == 66000 and n_edges > 0")
    np.testing.assert_array_equal(line[:, 1], rows["f_raw"])


def test_the_chosen_circuit_is_marked(draw, summary, tasks, pick):
    for task, axes in zip(tasks, draw().axes, strict=True):
        chosen = pick(summary, task=task, step=LAST).dropna(subset=["n_edges"])
        marks = [line for line in axes.lines if line.get_markeredgecolor() == "black"]
        found = np.concatenate([mark.get_xydata() for mark in marks])
        np.testing.assert_array_equal(found, chosen[["n_edges", "f_raw"]].to_numpy(dtype=float))


@pytest.fixture
def lost(curve, summary):
    """The tables when the small model has lost IOI at its last step, as the search writes them."""
    curve, summary = curve.copy(), summary.copy()
    gone = [
        (table["model"] == "small") & (table["task"] == "ioi") & (table["step"] == LAST)
        for table in (curve, summary)
    ]
    summary.loc[gone[1], "status"] = "no_behaviour"
    summary.loc[gone[1], ["n_edges", "f_raw"]] = pd.NA
    return {"faithfulness_curve": curve[~gone[0]], "circuit_summary": summary}


def test_a_model_without_a_circuit_at_the_last_step_shows_no_earlier_one(draw, lost, labels):
    lines = {line.get_label(): line for line in draw(**lost).axes[0].lines}
    drawn = {label for label, line in lines.items() if len(line.get_xdata())}
    assert drawn & set(labels.values()) == {labels["medium"], labels["large"]}


def test_a_model_without_a_circuit_at_the_last_step_is_named_in_its_panel(draw, lost):
    panel, other = draw(**lost).axes[:2]
    assert [text.get_text() for text in panel.texts] == ["no circuit: Small (0.1 M)\nn = 200"]
    assert [text.get_text() for text in other.texts] == ["n = 200"]


def test_a_panel_without_circuits_says_why(draw, curve):
    curve.loc[curve["task"] == "ioi", "f_raw"] = np.nan
    figure = draw(faithfulness_curve=curve, tasks=["ioi", "mine"])
    words = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert words == [["no circuits at the last step:\nno behaviour"], ["not analysed"]]


@pytest.mark.parametrize("n_tasks", [1, 4, 5])
def test_it_can_be_printed(draw, tasks, n_tasks, check_print):
    check_print(draw(tasks=[*tasks, "my_own_task"][:n_tasks]))


def dotted(axes):
    return [line for line in axes.lines if line.get_linestyle() == ":"]


def test_a_dotted_line_is_the_mean_over_random_circuits_that_have_edges(
    draw, rankings, labels, pick
):
    lines = dotted(draw().axes[0])
    assert len(lines) == len(labels)
    rows = pick(rankings, model="small", task="ioi", step=LAST, ranking="random")
    means = rows.groupby("fraction")[["n_edges", "f_raw"]].mean().query("n_edges >= 1")
    assert 0 < len(means) < rows["fraction"].nunique()
    np.testing.assert_allclose(lines[0].get_xydata(), means.to_numpy(dtype=float))


def test_the_legend_lists_only_what_is_drawn(draw, rankings, summary, labels):
    def entries(**tables):
        return [text.get_text() for text in draw(**tables).legends[0].get_texts()]

    marks = ["chosen circuit", "random circuits", "threshold (0.8)"]
    assert entries() == [*labels.values(), *marks]
    without = entries(ranking_curve=rankings[rankings["ranking"] != "random"])
    assert without == [*labels.values(), marks[0], marks[2]]


@pytest.mark.parametrize("n_tasks", [1, 3, 6])
def test_long_names_of_models_and_tasks_stay_inside(
    draw, own_tasks, long_labels, n_tasks, check_print
):
    curve, summary = make_curve(tasks=own_tasks), make_summary(tasks=own_tasks)
    lost = (summary["task"] == own_tasks[-1]) & (summary["model"] == "small")
    summary.loc[lost, "status"] = "no_behaviour"
    summary.loc[lost, ["n_edges", "f_raw"]] = pd.NA
    tables = {
        "faithfulness_curve": curve,
        "circuit_summary": summary,
        "ranking_curve": make_rankings(curve),
    }
    check_print(draw(labels=long_labels, tasks=own_tasks[-n_tasks:], **tables))
