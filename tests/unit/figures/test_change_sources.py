import pandas as pd
import pytest

from circuitlapse.figures.change_sources import change_sources_figure
from circuitlapse.schemas import CHANGE_SOURCES

LABELS = {"s": "Small"}


def table(**changes):
    row = {"model": "s", "variant": "", "task": "ioi", "method": "eap", "ig_steps": 1, "step": 1}
    row |= {"step_next": 2, "tokens": 10, "level": "edge", "unit": "halvings", "n_seeds": 0}
    row |= {"training": 0.5, "prompts": 0.25, "size_rule": -0.1, "total": 0.65, "status": "ok"}
    rows = [row, row | {"step": 2, "step_next": 4} | changes, row | {"level": "node"}]
    return CHANGE_SOURCES.cast(pd.DataFrame(rows, columns=[*CHANGE_SOURCES.columns]))


def test_parts_are_stacked_and_what_makes_circuits_alike_hangs_below():
    (axes,) = change_sources_figure(table(), labels=LABELS, tasks=["ioi"]).axes
    bars = [(bar.get_y(), bar.get_height()) for bar in axes.patches if bar.get_height()]
    assert bars == [(0.0, 0.5)] * 2 + [(0.5, 0.25)] * 2 + [(0.0, -0.1)] * 2
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "2"]


def test_circuits_without_overlap_have_a_cross():
    nothing = dict.fromkeys(("training", "prompts", "size_rule", "total"), float("nan"))
    figure = change_sources_figure(
        table(status="no_overlap", **nothing), labels=LABELS, tasks=["ioi"]
    )
    cross = figure.axes[0].lines[-1]
    assert list(cross.get_xdata()) == [1]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "training",
        "other prompts",
        "size of the circuits",
        "no overlap at equal size",
    ]


@pytest.mark.parametrize("tasks", [["sva"], ["sva", "ioi"]])
def test_a_panel_without_rows_says_so(tasks):
    figure = change_sources_figure(table(), labels=LABELS, tasks=tasks)
    assert "fewer than two steps" in figure.axes[0].texts[0].get_text()
