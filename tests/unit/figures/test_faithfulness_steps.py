from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.faithfulness import faithfulness_over_training_figure
from tests.unit.figures.conftest import make_curve, make_summary

STEPS = (512, 8000, 143000)


@pytest.fixture
def curve():
    return make_curve(steps=STEPS)


@pytest.fixture
def draw(curve, labels, tasks):
    def figure(**changes: object):
        tables = {
            "faithfulness_curve": curve,
            "circuit_summary": make_summary(steps=STEPS),
            "labels": labels,
        }
        tables |= {"tasks": tasks} | changes
        return faithfulness_over_training_figure(
            tables.pop("faithfulness_curve"), threshold=0.8, **tables
        )

    return figure


def curves(axes) -> list[np.ndarray]:
    (lines,) = axes.collections
    return lines.get_segments()


def test_there_is_a_line_per_step_without_empty_circuits(draw, curve, labels, tasks, pick):
    panels = np.array(draw().axes[: len(labels) * len(tasks)]).reshape(len(labels), -1)
    for row, model in zip(panels, labels, strict=True):
        for axes, task in zip(row, tasks, strict=True):
            for line, step in zip(curves(axes), STEPS, strict=True):
                rows = pick(curve, model=model, task=task, step=step).query("n_edges > 0")
                np.testing.assert_array_equal(line, rows[["n_edges", "f_raw"]])


def test_lines_grow_darker_with_training_and_a_step_has_one_colour_in_all_panels(draw, labels):
    axes = draw(tasks=["ioi", "sva"]).axes
    found = [panel.collections[0].get_colors() for panel in axes[: 2 * len(labels)]]
    for colours in found:
        np.testing.assert_array_equal(colours, found[0])
    lightness = found[0][:, :3] @ [0.3, 0.59, 0.11]
    assert (np.diff(lightness) < -0.1).all()


def test_lines_mark_the_threshold_and_the_whole_model(draw, labels):
    for axes in draw(tasks=["ioi"]).axes[: len(labels)]:
        assert [(line.get_linestyle(), line.get_ydata()[0]) for line in axes.lines] == [
            ("--", 0.8),
            ("-", 1),
        ]


def test_a_step_with_one_size_is_a_dot(draw, curve):
    one = curve[(curve["n_requested"] == 55) & (curve["model"] == "small")]
    axes = draw(faithfulness_curve=one, labels={"small": "Small"}, tasks=["ioi"]).axes[0]
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "."]
    rows = one[one["task"] == "ioi"]
    np.testing.assert_array_equal(dots, rows[["n_edges", "f_raw"]])


def test_a_huge_ratio_does_not_squash_the_curves(draw, curve):
    curve.loc[0, "f_raw"] = -500.0
    curve.loc[1, "f_raw"] = 500.0
    low, high = draw().axes[0].get_ylim()
    assert -2 < low < -0.9
    assert 1 < high < 2


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in figure.axes for text in axes.texts]


def test_an_empty_panel_says_why(draw, curve, labels):
    assert words(draw(tasks=["mine"])) == ["not analysed"] * len(labels)
    lost = curve[curve["task"] != "ioi"]
    assert words(draw(faithfulness_curve=lost, tasks=["ioi"])) == ["no circuits: no behaviour"] * 3
    late = draw(tasks=["sva"], min_step=200000)
    assert words(late) == ["only steps before 200000"] * 3
    assert words(
        draw(faithfulness_curve=curve[:0], circuit_summary=make_summary()[:0], tasks=["ioi"])
    ) == ["not analysed"] * len(labels)


def test_two_methods_are_refused(draw, curve):
    curve.loc[0, "ig_steps"] = 30
    with pytest.raises(ArtifactError, match="several ways"):
        draw(faithfulness_curve=curve)


@pytest.mark.parametrize("n_tasks", [1, 6])
@pytest.mark.parametrize("steps", [(512,), STEPS])
def test_it_can_be_printed(draw, own_tasks, long_labels, n_tasks, steps, check_print):
    shown, curve = own_tasks[-n_tasks:], make_curve(tasks=own_tasks[1:], steps=steps)
    check_print(draw(faithfulness_curve=curve, labels=long_labels, tasks=shown))
