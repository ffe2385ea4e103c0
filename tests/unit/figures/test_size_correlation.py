from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.figures.sizes import size_correlation_figure
from tests.unit.figures.conftest import make_behaviour, make_summary
from tests.unit.figures.training_tables import make_correlation

PARAMETERS = {"small": 1e5, "medium": 4e5, "large": 1e6}
STEPS = (64, 8000, 16000, 143000)


@pytest.fixture
def draw(labels, own_tasks):
    def figure(**changes: object):
        tables = {
            "circuit_summary": make_summary(tasks=own_tasks, steps=STEPS),
            "tasks": own_tasks[:4],
        }
        behaviour = make_behaviour(steps=STEPS[:1])
        behaviour["n_parameters"] = behaviour["model"].map(PARAMETERS).astype("int64")
        tables |= {"size_correlation": make_correlation(tasks=own_tasks), "labels": labels}
        tables |= {"behaviour": behaviour} | changes
        return size_correlation_figure(**tables)

    return figure


def by_hand(summary, count: str) -> np.ndarray:
    """Parameters, and mean, lower and upper quartile of the sizes at 1000, 2000 and 3000."""
    summary.loc[summary["step"] == 64, count] = 999
    points = []
    for model, sizes in {"small": (1, 2, 9), "medium": (3, 4, 5), "large": (10, 30, 80)}.items():
        for step, size in zip(STEPS[1:], sizes, strict=True):
            at = (summary["model"] == model) & (summary["step"] == step)
            summary.loc[at, count] = size
        low, high = (sizes[0] + sizes[1]) / 2, (sizes[1] + sizes[2]) / 2
        points.append((PARAMETERS[model], sum(sizes) / 3, low, high))
    return np.array(points)


@pytest.mark.parametrize(("row", "count"), [(0, "n_edges"), (1, "n_nodes")])
def test_a_point_is_the_mean_from_min_step_on_and_a_bar_its_quartiles(
    draw, labels, drawn_line, row, count
):
    summary = make_summary(steps=STEPS)
    expected = by_hand(summary, count)
    axes = draw(circuit_summary=summary, tasks=["sva"]).axes[row]
    points = np.concatenate([drawn_line(axes, label) for label in labels.values()])
    np.testing.assert_allclose(points, expected[:, :2])
    bars = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bars, expected[:, 2:])
    assert axes.get_xscale() == "log"


def test_each_panel_says_its_correlation_with_the_logarithm_of_size(draw, own_tasks):
    axes = draw().axes
    said = [[text.get_text() for text in one.texts] for one in axes]
    # r falls by 0.1 from row to row: edge params, edge log_params, node params, node log_params
    assert said[0] == ["r = 0.80\np = 0.04\n3 models"]
    assert said[4] == ["r = 0.60\np = 0.08\n3 models"]
    assert said[1] == ["r = 0.40\np = 0.12\n3 models"]


def test_a_very_small_p_and_an_undefined_r_are_said_in_words(draw):
    table = make_correlation(tasks=["ioi", "sva"])
    table.loc[table["task"] == "ioi", "p"] = 0.0002
    table.loc[table["task"] == "sva", ["r", "p"]] = np.nan
    said = [
        one.texts[0].get_text() for one in draw(size_correlation=table, tasks=["ioi", "sva"]).axes
    ]
    assert said[0] == "r = 0.80\np < 0.001\n3 models"
    assert said[1] == "r not defined\n3 models"


def test_an_empty_panel_says_why(draw):
    said = [axes.texts[0].get_text() for axes in draw(tasks=["ioi", "mine"]).axes]
    assert said[1] == said[3] == "not analysed"
    late = make_correlation(tasks=["ioi"], min_step=150000)
    figure = draw(size_correlation=late, tasks=["ioi"])
    assert "middle half of the steps" not in [text.get_text() for text in figure.legends[0].texts]
    said = [axes.texts[0].get_text() for axes in figure.axes]
    assert {" ".join(text.split()) for text in said} == {"no circuits from step 150000 on"}


def test_the_legend_names_models_and_bars(draw, labels):
    entries = [text.get_text() for text in draw().legends[0].get_texts()]
    assert entries == [*labels.values(), "middle half of the steps"]


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
def test_it_can_be_printed(draw, own_tasks, long_labels, n_tasks, check_print):
    check_print(draw(labels=long_labels, tasks=own_tasks[-n_tasks:]))
