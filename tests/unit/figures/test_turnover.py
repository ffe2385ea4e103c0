"""The overlap of the heads of each role, its noise floor, and the marks below it."""

import pandas as pd
import pytest

from circuitlapse.figures.turnover import turnover_figure
from circuitlapse.schemas import TURNOVER
from circuitlapse.types import ROLE_TITLES

LABELS = {"s": "Small", "m": "Medium"}
STEPS = (1, 2, 4, 8)


@pytest.fixture
def table():
    """Name movers of two models change at step 4; no head suppresses copies."""
    rows = [
        {"model": model, "variant": "", "step": step, "tokens": 100 * step, "task": "ioi"}
        | {"step_next": 2 * step, "role": "NM", "n_heads": 2, "n_heads_next": 3}
        | {"jaccard": 0.4 if step == 4 else 0.9, "weighted": 0.5, "floor_median": 0.8}
        | {"floor_low": 0.6, "changed": step == 4, "unit": "share", "n": 50, "status": "ok"}
        for model in LABELS
        for step in STEPS
    ]
    known = pd.DataFrame(rows)
    nobody = known.assign(role="CS", status="no_heads", jaccard=float("nan"), changed=pd.NA)
    return TURNOVER.cast(pd.concat([known, nobody]))


def draw(table, **given):
    """The panel and the strip of every role."""
    axes = turnover_figure(table, labels=LABELS, **{"min_step": 1} | given).axes
    n_rows, n_columns = 2, 4
    places = [
        (2 * row) * n_columns + column for row in range(n_rows) for column in range(n_columns)
    ]
    return {
        role: (axes[at], axes[at + n_columns])
        for role, at in zip(map(str, ROLE_TITLES), places, strict=False)
    }


def words(axes):
    return [text.get_text().replace("\n", " ") for text in axes.texts]


def test_a_panel_has_a_line_and_a_floor_per_model_and_marks_changes(table):
    overlap, strip = draw(table)["NM"]
    assert overlap.get_title() == "name mover"
    solid = [line for line in overlap.lines if line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in solid] == [[0.9, 0.9, 0.4, 0.9]] * 2
    dotted = [line for line in overlap.lines if line.get_linestyle() == ":"]
    assert {*dotted[0].get_ydata()} == {0.6}
    marks = [line for line in strip.lines if line.get_marker() == "|"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in marks] == [
        ([400], [0]),
        ([400], [1]),
    ]
    assert words(overlap) == ["n = 50 2 to 3 heads"]


def test_a_panel_without_overlaps_says_why(table):
    panels = draw(table)
    assert words(panels["CS"][0]) == ["no head has the role"]
    assert words(panels["Ind"][0]) == ["no such task in this run"]
    assert words(draw(table, min_step=100)["NM"][0]) == ["only steps before 100"]
    unable = table.assign(status="no_behaviour", jaccard=float("nan"))
    assert words(draw(unable)["NM"][0]) == ["the model does not do the task"]


def test_it_can_be_printed(table, check_print):
    check_print(turnover_figure(table, labels=LABELS, min_step=1))
