from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.faithfulness import faithfulness_figure, faithfulness_over_training_figure
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
            expected = rows.loc[rows["n_edges"] > 0, ["n_edges", "f_raw_held_out"]]
            np.testing.assert_array_equal(drawn_line(axes, label), expected)


def test_each_model_is_drawn_at_its_own_last_step(draw, curve, summary, labels, drawn_line):
    shorter, sooner = (
        t[~((t["model"] == "small") & (t["step"] == LAST))] for t in (curve, summary)
    )
    line = drawn_line(
        draw(faithfulness_curve=shorter, circuit_summary=sooner).axes[0], labels["small"]
    )
    rows = curve.query("model == 'small' and task == 'ioi' and step == 66000 and n_edges > 0")
    np.testing.assert_array_equal(line[:, 1], rows["f_raw_held_out"])


def test_the_chosen_circuit_is_marked(draw, summary, tasks, pick):
    for task, axes in zip(tasks, draw().axes, strict=True):
        chosen = pick(summary, task=task, step=LAST).dropna(subset=["n_edges"])
        marks = [line for line in axes.lines if line.get_markeredgecolor() == "black"]
        found = np.concatenate([mark.get_xydata() for mark in marks])
        np.testing.assert_array_equal(
            found, chosen[["n_edges", "f_raw_held_out"]].to_numpy(dtype=float)
        )


def test_what_a_circuit_without_edges_reaches_is_drawn_at_the_left_edge(
    draw, summary, labels, tasks
):
    summary["f_raw_empty"] = np.linspace(0.1, 0.7, len(summary))
    figure = draw(circuit_summary=summary)
    for task, axes in zip(tasks, figure.axes, strict=True):
        bars = [line for line in axes.lines if line.get_marker() == "_"]
        last = summary[(summary["task"] == task) & (summary["step"] == LAST)]
        expected = last.dropna(subset=["n_edges"])["f_raw_empty"]
        found = np.concatenate([bar.get_ydata() for bar in bars])
        assert sorted(found) == pytest.approx(sorted(expected))
    assert "without edges" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_normalised_threshold_is_no_line_among_raw_numbers(draw, summary):
    dashed = [line for line in draw().axes[0].lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[0.8, 0.8]]
    figure = draw(circuit_summary=summary.assign(faithfulness="normalised"))
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert np.isnan([line.get_ydata() for line in dashed]).all()
    assert not [t for t in figure.legends[0].get_texts() if t.get_text().startswith("threshold")]


@pytest.fixture
def lost(curve, summary):
    """The tables when the small model has lost IOI at its last step, as the search writes them."""
    curve, summary = curve.copy(), summary.copy()
    gone = [
        (table["model"] == "small") & (table["task"] == "ioi") & (table["step"] == LAST)
        for table in (curve, summary)
    ]
    summary.loc[gone[1], "status"] = "no_behaviour"
    summary.loc[gone[1], ["n_edges", "f_raw", "f_raw_held_out"]] = pd.NA
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
    curve.loc[curve["task"] == "ioi", ["f_raw", "f_raw_held_out"]] = np.nan
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
        texts = [text.get_text() for text in draw(**tables).legends[0].get_texts()]
        return [text for text in texts if text.strip()]  # a column may be filled up

    marks = ["chosen circuit", "random circuits", "without edges", "threshold (0.8)"]
    assert entries() == [*labels.values(), *marks]
    without = entries(ranking_curve=rankings[rankings["ranking"] != "random"])
    assert without == [*labels.values(), marks[0], *marks[2:]]


@pytest.mark.parametrize("n_tasks", [1, 3, 6])
def test_long_names_of_models_and_tasks_stay_inside(
    draw, own_tasks, long_labels, n_tasks, check_print
):
    curve, summary = make_curve(tasks=own_tasks), make_summary(tasks=own_tasks)
    lost = (summary["task"] == own_tasks[-1]) & (summary["model"] == "small")
    summary.loc[lost, "status"] = "no_behaviour"
    summary.loc[lost, ["n_edges", "f_raw", "f_raw_held_out"]] = pd.NA
    tables = {
        "faithfulness_curve": curve,
        "circuit_summary": summary,
        "ranking_curve": make_rankings(curve),
    }
    check_print(draw(labels=long_labels, tasks=own_tasks[-n_tasks:], **tables))


STEPS = (512, 8000, 143000)


@pytest.fixture
def curve():
    return make_curve(steps=STEPS)


@pytest.fixture
def draw_steps(curve, labels, tasks):
    def figure(**changes: object):
        tables = {
            "faithfulness_curve": curve,
            "circuit_summary": make_summary(steps=STEPS),
            "labels": labels,
        }
        tables |= {"tasks": tasks, "min_step": 1} | changes
        return faithfulness_over_training_figure(
            tables.pop("faithfulness_curve"), threshold=0.8, **tables
        )

    return figure


def curves(axes) -> list[np.ndarray]:
    (lines,) = axes.collections
    return lines.get_segments()


def test_there_is_a_line_per_step_without_empty_circuits(draw_steps, curve, labels, tasks, pick):
    panels = np.array(draw_steps().axes[: len(labels) * len(tasks)]).reshape(len(labels), -1)
    for row, model in zip(panels, labels, strict=True):
        for axes, task in zip(row, tasks, strict=True):
            for line, step in zip(curves(axes), STEPS, strict=True):
                rows = pick(curve, model=model, task=task, step=step).query("n_edges > 0")
                np.testing.assert_array_equal(line, rows[["n_edges", "f_raw_held_out"]])


def test_lines_grow_darker_with_training_and_a_step_has_one_colour_in_all_panels(
    draw_steps, labels
):
    axes = draw_steps(tasks=["ioi", "sva"]).axes
    found = [panel.collections[0].get_colors() for panel in axes[: 2 * len(labels)]]
    for colours in found:
        np.testing.assert_array_equal(colours, found[0])
    lightness = found[0][:, :3] @ [0.3, 0.59, 0.11]
    assert (np.diff(lightness) < -0.1).all()


def test_lines_mark_the_threshold_and_the_whole_model(draw_steps, labels):
    for axes in draw_steps(tasks=["ioi"]).axes[: len(labels)]:
        assert [(line.get_linestyle(), line.get_ydata()[0]) for line in axes.lines] == [
            ("--", 0.8),
            ("-", 1),
        ]


def test_a_step_with_one_size_is_a_dot(draw_steps, curve):
    one = curve[(curve["n_requested"] == 55) & (curve["model"] == "small")]
    axes = draw_steps(faithfulness_curve=one, labels={"small": "Small"}, tasks=["ioi"]).axes[0]
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "."]
    rows = one[one["task"] == "ioi"]
    np.testing.assert_array_equal(dots, rows[["n_edges", "f_raw_held_out"]])


def test_a_huge_ratio_does_not_squash_the_curves(draw_steps, curve):
    curve.loc[0, "f_raw_held_out"] = -500.0
    curve.loc[1, "f_raw_held_out"] = 500.0
    low, high = draw_steps().axes[0].get_ylim()
    assert -2 < low < -0.9
    assert 1 < high < 2


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in figure.axes for text in axes.texts]


def test_an_empty_panel_says_why(draw_steps, curve, labels):
    assert words(draw_steps(tasks=["mine"])) == ["not analysed"] * len(labels)
    lost = curve[curve["task"] != "ioi"]
    assert (
        words(draw_steps(faithfulness_curve=lost, tasks=["ioi"]))
        == ["no circuits: no behaviour"] * 3
    )
    late = draw_steps(tasks=["sva"], min_step=200000)
    assert words(late) == ["only steps before 200000"] * 3
    assert words(
        draw_steps(faithfulness_curve=curve[:0], circuit_summary=make_summary()[:0], tasks=["ioi"])
    ) == ["not analysed"] * len(labels)


def test_two_methods_are_refused(draw_steps, curve):
    curve.loc[0, "ig_steps"] = 30
    with pytest.raises(
        ArtifactError, match=r"^faithfulness_curve: expected circuits of one method"
    ):
        draw_steps(faithfulness_curve=curve)


@pytest.mark.parametrize("n_tasks", [1, 6])
@pytest.mark.parametrize("steps", [(512,), STEPS])
def test_steps_it_can_be_printed(draw_steps, own_tasks, long_labels, n_tasks, steps, check_print):
    shown, curve = own_tasks[-n_tasks:], make_curve(tasks=own_tasks[1:], steps=steps)
    check_print(draw_steps(faithfulness_curve=curve, labels=long_labels, tasks=shown))
