"""Cosines between checkpoints over training, and marks of suspect ones."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.behaviour import behaviour_figure
from circuitlapse.figures.checkpoints import checkpoints_figure
from circuitlapse.figures.circuits import circuits_figure
from circuitlapse.schemas import CHECKPOINTS
from tests.unit.figures.conftest import LABELS, TASKS, make_behaviour, make_summary

STEPS = (0, 1000, 2000, 3000)


@pytest.fixture
def table():
    rows = [
        {"model": "m", "variant": "v", "step": step, "tokens": 100 * step, "matrix": matrix}
        | {"shape": "2x2", "norm": 1.0, "cos_previous": 0.9 - at, "cos_next": 0.8}
        | {"cos_last": 0.1 * place - at, "unit": "cosine"}
        | {"status": "suspect" if step == 2000 else "ok"}
        for place, step in enumerate(STEPS)
        for matrix, at in (("a", 0.0), ("b", 0.1), ("c", 0.5))
    ]
    return CHECKPOINTS.cast(pd.DataFrame(rows))


def lines_of(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def test_the_median_of_all_matrices_is_drawn_without_step_0(table):
    (axes,) = checkpoints_figure(table, run_labels={"m": "M"}, min_step=1).axes
    found = lines_of(axes)
    assert found["to the step before"] == pytest.approx([0.8, 0.8, 0.8])
    assert found["to the last step"] == pytest.approx([0.0, 0.1, 0.2])
    assert found["_suspect"] == pytest.approx([0.1])
    assert axes.get_title() == "M"


def test_a_model_with_one_checkpoint_says_so(table):
    alone = table[table["step"] == 3000].assign(cos_previous=np.nan, cos_last=np.nan)
    (axes,) = checkpoints_figure(alone, run_labels={"m": "M"}, min_step=1).axes
    assert [text.get_text() for text in axes.texts] == ["only one checkpoint"]


def test_only_a_figure_with_suspects_has_them_in_its_legend(table):
    for rows, there in ((table, True), (table.assign(status="ok"), False)):
        figure = checkpoints_figure(rows, run_labels={"m": "M"}, min_step=1)
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("suspect checkpoint" in names) is there


def test_suspects_are_marked_and_steps_left_out_break_lines_in_other_figures():
    behaviour = make_behaviour().assign(
        checkpoint=lambda rows: rows["step"].map({1000: "suspect"}).fillna("ok")
    )
    figure = behaviour_figure(behaviour, labels=LABELS, tasks=TASKS, min_step=1)
    assert len(lines_of(figure.axes[0])["_suspect"]) == 1
    summary = make_summary()
    step = sorted(summary["step"].unique())[-3]
    here = summary["step"] == step
    summary = summary.assign(
        status=summary["status"].mask(here, "duplicate"),
        checkpoint=summary["checkpoint"].mask(here, "duplicate"),
        edge_fraction=summary["edge_fraction"].mask(here),
        f_raw_held_out=summary["f_raw_held_out"].mask(here),
    )
    how = {"labels": LABELS, "tasks": TASKS, "threshold": 0.8, "min_step": 1}
    figure = circuits_figure(summary, **how)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "weights of another step" in names
    strip = figure.axes[2 * len(TASKS)]
    crosses = [line for line in strip.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == len(LABELS)
