from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.agreement import agreement_figure
from circuitlapse.schemas import AGREEMENT


@pytest.fixture
def agreement(summary):
    """What the authors have is 10 % larger; edges overlap less from step to step."""
    shown = summary[summary["step"] >= 512]
    frame = shown.reindex(columns=list(AGREEMENT.columns))
    for own in ("m_model", "f_raw"):
        frame[f"{own}_published"] = 1.1 * frame[own]
    for own in ("n_edges", "n_nodes"):
        frame[f"{own}_published"] = (1.1 * frame[own].astype("Float64")).round()
    overlap = np.linspace(0.9, 0.3, len(frame))
    frame["edge_jaccard_matched"] = np.where(frame["n_edges"].isna(), np.nan, overlap)
    frame["edge_floor_low"], frame["edge_jaccard_chance"] = 0.5, 0.1
    frame["edge_differs"] = pd.array(frame["edge_jaccard_matched"] < 0.5, dtype="boolean")
    return AGREEMENT.cast(frame)


@pytest.fixture
def grid(agreement, labels, tasks):
    figure = agreement_figure(agreement, labels=labels, tasks=tasks, min_step=1)
    return np.array(figure.axes).reshape(4, len(tasks))


@pytest.mark.parametrize(
    ("row", "own", "theirs"),
    [
        (0, "m_model", "m_model_published"),
        (1, "n_edges", "n_edges_published"),
        (2, "f_raw", "f_raw_published"),
    ],
)
def test_both_lines_are_the_table(grid, agreement, labels, tasks, pick, row, own, theirs):
    for task, axes in zip(tasks, grid[row], strict=True):
        published = iter([line for line in axes.lines if line.get_label() == "_theirs"])
        for model, label in labels.items():
            rows = pick(agreement, model=model, task=task)
            (line,) = [line for line in axes.lines if line.get_label() == label]
            for drawn, column in ((line, own), (next(published), theirs)):
                expected = rows[column].astype("float64").to_numpy()
                np.testing.assert_allclose(drawn.get_ydata(), expected)


def test_a_cross_marks_what_differs_beyond_the_floor(grid, agreement, labels, tasks, pick):
    for task, axes in zip(tasks, grid[3], strict=True):
        crosses = [line for line in axes.lines if line.get_label() == "_differs"]
        for model, drawn in zip(labels, crosses, strict=True):
            rows = pick(agreement, model=model, task=task)
            expected = rows.loc[rows["edge_differs"].fillna(False), "tokens"]
            assert list(drawn.get_xdata()) == list(expected)


def test_it_can_be_printed(agreement, labels, tasks, check_print):
    check_print(agreement_figure(agreement, labels=labels, tasks=tasks, min_step=1))


def test_the_legend_says_what_lines_and_marks_are(grid):
    names = [text.get_text() for text in grid[0, 0].figure.legends[0].get_texts()]
    assert {"published", "chance", "differs beyond the noise floor"} <= set(names)


def test_a_task_without_a_step_in_common_says_so(agreement, labels, tasks):
    figure = agreement_figure(
        agreement[agreement["task"] != tasks[0]], labels=labels, tasks=tasks, min_step=1
    )
    first = np.array(figure.axes).reshape(4, len(tasks))[:, 0]
    assert all("no step in common" in axes.texts[0].get_text() for axes in first)
