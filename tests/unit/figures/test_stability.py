from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.stability import (
    stability_edges_figure,
    stability_figure,
    stability_reference_figure,
)
from tests.unit.figures.conftest import make_summary
from tests.unit.figures.training_tables import make_stability


@pytest.fixture
def table(summary) -> pd.DataFrame:
    return make_stability(summary)


@pytest.fixture
def draw(table, summary, labels, tasks):
    def figure(of=stability_figure, **changes: object):
        tables = {
            "stability": table,
            "circuit_summary": summary,
            "labels": labels,
            "tasks": tasks,
            "min_step": 1,
        } | changes
        return of(**tables)

    return figure


def panels(figure, *, below: bool = False) -> list:
    """The panels of overlaps, or the strips below them, in the order of reading."""
    shown = [axes for axes in figure.axes if axes.get_visible()]
    rows = {axes.get_subplotspec().rowspan.start for axes in shown}
    assert rows == set(range(len(rows)))
    return [axes for axes in shown if axes.get_subplotspec().rowspan.start % 2 == below]


def floors(axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines if line.get_linestyle() == ":"]


def test_every_line_is_the_overlap_of_nodes_at_one_size(
    draw, table, labels, tasks, drawn_line, pick
):
    for task, axes in zip(tasks, panels(draw()), strict=True):
        for model, label in labels.items():
            rows = pick(table, model=model, task=task, comparison="consecutive", level="node")
            rows = pick(rows, weighting="none").dropna(subset=["jaccard_matched"])
            expected = rows[["tokens", "jaccard_matched"]]
            np.testing.assert_array_equal(drawn_line(axes, label), expected)


def test_a_line_breaks_where_a_step_has_no_circuit(draw, table, labels):
    gap = (table["comparison"] == "consecutive") & (table["step"] == 16000)
    table.loc[gap, "jaccard_matched"] = np.nan
    line = next(one for one in panels(draw())[3].lines if one.get_label() == labels["large"])
    at_gap = line.get_xdata() == table.loc[gap, "tokens"].iloc[0]
    assert np.isnan(line.get_ydata()[at_gap]).all()
    assert at_gap.sum() == 1


def test_the_floor_is_the_low_quantile_of_splits_and_its_shade_reaches_the_median(
    draw, table, pick
):
    rows = pick(table, model="small", task="sva", comparison="halves", level="node")
    expected = pick(rows, weighting="none")[["tokens", "floor_low"]]
    axes = panels(draw())[3]
    np.testing.assert_array_equal(floors(axes)[0], expected)
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert {heights.min(), heights.max()} == {0.6, 0.7}


def hand_made(table, *, overlap: float, low: float, changed) -> pd.DataFrame:
    """Node overlaps of the small model on SVA from 16000 on, the first one set by hand."""
    of = (table["model"] == "small") & (table["task"] == "sva") & (table["level"] == "node")
    of &= (table["weighting"] == "none") & table["step"].isin([16000, 33000, 66000])
    at = of & (table["comparison"] == "consecutive")
    table.loc[at, ["jaccard_matched", "changed"]] = 0.9, False
    at &= table["step"] == 16000
    table.loc[at, ["jaccard_matched", "floor_low", "changed"]] = overlap, low, changed
    return table[of]


@pytest.mark.parametrize("changed", [True, False])
def test_the_strip_marks_the_changes_of_the_table(draw, table, labels, drawn_line, changed):
    rows = hand_made(table, overlap=0.55 if changed else 0.65, low=0.6, changed=changed)
    strip = panels(draw(stability=rows, tasks=["sva"]), below=True)[0]
    expected = rows.loc[rows["step"] == 16000, "tokens"].unique()[: int(changed)]
    np.testing.assert_array_equal(drawn_line(strip, labels["small"])[:, 0], expected)
    hollow = [line for line in strip.lines if line.get_markerfacecolor() == "white"]
    assert not any(len(line.get_xdata()) for line in hollow)


def test_a_change_is_not_judged_where_a_floor_is_unknown(draw, table, labels, drawn_line):
    rows = hand_made(table, overlap=0.01, low=np.nan, changed=pd.NA)
    strip = panels(draw(stability=rows, tasks=["sva"]), below=True)[0]
    assert not len(drawn_line(strip, labels["small"]))
    hollow, *_ = [line for line in strip.lines if line.get_markerfacecolor() == "white"]
    expected = rows.loc[rows["step"] == 16000, "tokens"].unique()
    np.testing.assert_array_equal(hollow.get_xydata(), [[tokens, 0] for tokens in expected])


def test_against_the_reference_lines_are_overlaps_with_one_step(
    draw, table, labels, tasks, drawn_line, pick
):
    figure = draw(stability_reference_figure)
    for task, axes in zip(tasks, panels(figure), strict=True):
        rows = pick(table, model="large", task=task, level="node", weighting="none")
        line = pick(rows, comparison="reference").dropna(subset=["jaccard_matched"])
        np.testing.assert_array_equal(
            drawn_line(axes, labels["large"]), line[["tokens", "jaccard_matched"]]
        )
        floor = floors(axes)[list(labels).index("large")]
        halves = pick(rows, comparison="halves")[["tokens", "floor_low"]]
        np.testing.assert_array_equal(floor, halves)
        assert [text.get_text() for text in axes.texts] == ["n = 200; reference: step 143000"]


def test_edges_count_alike_above_and_by_their_scores_below(
    draw, table, labels, tasks, drawn_line, pick
):
    grid = np.array(panels(draw(stability_edges_figure))).reshape(2, len(tasks))
    for row, weighting in zip(grid, ("none", "abs"), strict=True):
        for task, axes in zip(tasks, row, strict=True):
            rows = pick(table, model="small", task=task, comparison="consecutive", level="edge")
            rows = pick(rows, weighting=weighting).dropna(subset=["jaccard_matched"])
            expected = rows[["tokens", "jaccard_matched"]]
            np.testing.assert_array_equal(drawn_line(axes, labels["small"]), expected)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == [
        "Edge overlap\n(Jaccard,\nequal size)",
        "Edge overlap\n(weighted Jaccard,\nequal size)",
    ]


def test_the_legend_lists_only_what_is_drawn(draw, table, labels):
    def entries(rows, of=stability_figure):
        legend = draw(of, stability=rows).legends[0]
        return [text.get_text() for text in legend.get_texts() if text.get_text().strip()]

    line, floor = "neighbouring steps", "noise floor (halves of the prompts, 5 %)"
    band, beyond = "noise floor, 5 % to median", "change beyond the noise floor"
    assert entries(table) == [*labels.values(), line, floor, band, beyond]
    unjudged = table[table["comparison"] != "halves"].assign(changed=pd.NA)
    unjudged["changed"] = unjudged["changed"].astype("boolean")
    unknown = "no noise floor: cannot be judged"
    assert entries(unjudged) == [*labels.values(), line, unknown]
    assert "a step and the reference step" in entries(table, stability_reference_figure)


def test_min_step_leaves_out_earlier_steps(draw, table, labels, drawn_line):
    line = drawn_line(panels(draw(min_step=16000))[3], labels["large"])
    assert line[:, 0].min() == table.loc[table["step"] == 16000, "tokens"].iloc[0]


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in panels(figure) for text in axes.texts]


def test_an_empty_panel_says_why(draw, table, summary):
    one_step = make_summary(steps=(16000,), tasks=("sva",))
    figure = draw(
        stability=make_stability(one_step), circuit_summary=one_step, tasks=["sva", "mine"]
    )
    assert words(figure) == ["no two neighbouring steps with circuits", "not analysed"]
    absent = summary.assign(n_edges=pd.array([pd.NA] * len(summary), dtype="Int32"))
    figure = draw(stability=make_stability(absent), circuit_summary=absent, tasks=["sva"])
    assert words(figure) == ["no circuits: no behaviour"]
    figure = draw(stability=table[:0], circuit_summary=summary[:0], tasks=["sva"])
    assert words(figure) == ["not analysed"]


def test_without_a_circuit_at_the_reference_step_the_panel_says_so(draw, summary):
    summary.loc[summary["step"] == 143000, "n_edges"] = pd.NA
    figure = draw(
        stability_reference_figure,
        stability=make_stability(summary),
        circuit_summary=summary,
        tasks=["sva"],
    )
    assert words(figure) == ["no circuit at the reference step"]


def test_two_methods_are_refused(draw, table):
    table.loc[0, "ig_steps"] = 30
    with pytest.raises(ArtifactError, match=r"^stability: expected circuits of one method"):
        draw(stability=table)


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
@pytest.mark.parametrize(
    "of", [stability_figure, stability_edges_figure, stability_reference_figure]
)
def test_it_can_be_printed(draw, own_tasks, long_labels, of, n_tasks, check_print):
    summary = make_summary(tasks=own_tasks[1:])
    tables = {"stability": make_stability(summary), "circuit_summary": summary}
    check_print(draw(of, labels=long_labels, tasks=own_tasks[-n_tasks:], **tables))
