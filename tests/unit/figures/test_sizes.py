from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.sizes import circuit_sizes_figure, size_and_performance_figure
from tests.unit.figures.conftest import TOKENS_PER_STEP, make_summary

NUMBERS = ["n_edges", "n_nodes"]


@pytest.fixture
def summary() -> pd.DataFrame:
    table = make_summary()
    return table.assign(n_nodes=(table["n_edges"] * 0.3 + 2).round().astype("Int32"))


@pytest.fixture
def draw(summary, labels, tasks):
    def figure(of=circuit_sizes_figure, **changes: object):
        tables = {"circuit_summary": summary, "labels": labels, "tasks": tasks} | changes
        return of(**tables)

    return figure


def panel(figure, row: int, column: int):
    """The panel at a place of the grid; of two on one another, the lower one."""
    places = [(axes.get_subplotspec(), axes) for axes in figure.axes]
    found = [
        axes for spec, axes in places if (spec.rowspan.start, spec.colspan.start) == (row, column)
    ]
    return found[0]


def metric_line(figure, row: int, column: int) -> np.ndarray:
    place = panel(figure, row, column).get_subplotspec()
    for axes in figure.axes:
        for line in axes.lines:
            if axes.get_subplotspec() == place and line.get_label() == "metric":
                return line.get_xydata()
    raise AssertionError("no metric in this panel")


@pytest.mark.parametrize(("row", "count"), [(0, "n_edges"), (1, "n_nodes")])
def test_edges_stand_above_nodes(draw, summary, labels, tasks, drawn_line, pick, row, count):
    figure = draw()
    for column, task in enumerate(tasks):
        for model, label in labels.items():
            rows = pick(summary, model=model, task=task).dropna(subset=[count])
            expected = rows[["tokens", count]].to_numpy(dtype=float)
            np.testing.assert_array_equal(drawn_line(panel(figure, row, column), label), expected)
    assert panel(figure, row, 0).get_ylabel() == f"Circuit size\n({count[2:]})"
    assert panel(figure, row, 0).get_yscale() == "log"


def test_only_edges_have_an_interval(draw, summary, labels, pick):
    figure = draw(tasks=["gendered_pronoun"])
    assert not panel(figure, 1, 0).collections
    for model, band in zip(labels, panel(figure, 0, 0).collections, strict=True):
        rows = pick(summary, model=model, task="gendered_pronoun").dropna(subset=["n_edges"])
        corners = {tuple(point) for point in band.get_paths()[0].vertices}
        for end in ("n_edges_low", "n_edges_high"):
            assert set(rows[["tokens", end]].itertuples(index=False, name=None)) <= corners


def test_every_circuit_has_a_marker_at_its_size(draw, summary, pick):
    lines = panel(draw(tasks=["sva"]), 0, 0).lines
    marked = np.concatenate([one.get_xydata() for one in lines if one.get_linestyle() == "None"])
    expected = pick(summary, task="sva").dropna(subset=["n_edges"])
    assert {tuple(point) for point in marked} == set(
        expected[["tokens", "n_edges"]].itertuples(index=False, name=None)
    )


def test_size_is_on_the_left_axis_and_the_metric_of_the_model_on_the_right(
    draw, summary, labels, tasks, drawn_line, pick
):
    figure = draw(size_and_performance_figure)
    for row, (model, label) in enumerate(labels.items()):
        for column, task in enumerate(tasks):
            rows = pick(summary, model=model, task=task)
            sizes = rows.dropna(subset=["n_edges"])[["tokens", "n_edges"]].to_numpy(dtype=float)
            np.testing.assert_array_equal(drawn_line(panel(figure, row, column), label), sizes)
            metric = rows[["tokens", "m_model"]].to_numpy()
            np.testing.assert_array_equal(metric_line(figure, row, column), metric)


def test_nothing_is_interpolated_at_a_step_without_a_measurement(draw, summary, labels):
    missing = (summary["model"] == "large") & (summary["step"] == 16000)
    missing &= summary["task"] == "sva"
    figure = draw(size_and_performance_figure, circuit_summary=summary[~missing])
    row, column = list(labels).index("large"), 3
    metric = metric_line(figure, row, column)
    at = metric[:, 0] == 16000 * TOKENS_PER_STEP
    assert at.sum() == 1
    assert np.isnan(metric[at, 1]).all()
    assert np.isfinite(metric[~at, 1]).all()
    line = next(one for one in panel(figure, row, column).lines if one.get_label() == "Large (1 M)")
    assert np.isnan(np.asarray(line.get_ydata(), dtype=float)[at]).all()


def test_a_column_has_one_range_of_the_metric(draw, summary):
    figure = draw(size_and_performance_figure)
    for column, task in enumerate(("ioi", "gendered_pronoun")):
        place = [axes for axes in figure.axes if axes.get_subplotspec().colspan.start == column]
        ranges = {axes.get_ylim() for axes in place if axes.get_yscale() == "linear"}
        ((low, high),) = ranges
        metrics = summary.loc[summary["task"] == task, "m_model"]
        assert low <= 0 < metrics.max() < high


def test_a_model_without_any_row_has_no_row_of_panels_but_keeps_its_colour(draw, summary, labels):
    figure = draw(
        size_and_performance_figure, circuit_summary=summary[summary["model"] != "medium"]
    )
    assert {axes.get_subplotspec().get_gridspec().nrows for axes in figure.axes} == {2}
    labelled = panel(figure, 1, 0)
    assert labelled.get_ylabel() == "Large (1 M)\n(edges)"
    (line,) = [one for one in labelled.lines if one.get_label() == labels["large"]]
    assert line.get_color() == "#009E73"


def test_titles_name_metric_unit_and_number_of_prompts(draw, tasks):
    figure = draw(size_and_performance_figure)
    titles = [
        " ".join(panel(figure, 0, column).get_title().split()) for column in range(len(tasks))
    ]
    assert titles[0].endswith("(IOI) Logit difference (logits) n = 200")
    assert titles[3].endswith("(SVA) Probability difference (probability) n = 200")


def test_the_legend_lists_only_what_is_drawn(draw, summary, labels):
    def entries(of, rows):
        texts = draw(of, circuit_summary=rows).legends[0].get_texts()
        return [text.get_text() for text in texts if text.get_text().strip()]

    ok = summary[summary["status"].isin(["ok", "no_behaviour"])]
    models, interval = [*labels.values()], "bootstrap interval"
    assert entries(circuit_sizes_figure, ok) == [*models, "faithful circuit", interval]
    both = ["circuit size, left axis", "task metric of the model, right axis"]
    assert entries(size_and_performance_figure, ok) == both
    odd = ["threshold not reached", "overshoots the model"]
    assert entries(size_and_performance_figure, summary) == [*both, *odd]


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("of", [circuit_sizes_figure, size_and_performance_figure])
def test_an_empty_panel_says_why(draw, summary, of):
    one = {"labels": {"small": "Small"}}
    assert set(words(draw(of, tasks=["mine"], **one))) == {"not analysed"}
    assert set(words(draw(of, circuit_summary=summary[:0], tasks=["ioi"]))) == {"not analysed"}
    late = words(draw(of, tasks=["ioi"], min_step=200000, **one))
    assert set(late) == {"only steps before 200000"}


def test_without_circuits_the_metric_is_there_all_the_same(draw, summary):
    gone = {name: pd.array([pd.NA] * len(summary), dtype="Int32") for name in NUMBERS}
    summary = summary.assign(status="no_behaviour", **gone)
    one = {"labels": {"small": "Small"}, "tasks": ["ioi"], "circuit_summary": summary}
    assert words(draw(**one)) == ["no circuits: no behaviour"] * 2
    figure = draw(size_and_performance_figure, **one)
    assert words(figure) == ["no circuit"]
    assert len(metric_line(figure, 0, 0)) == summary["step"].nunique()


def test_two_methods_are_refused(draw, summary):
    summary.loc[0, "ig_steps"] = 30
    for of in (circuit_sizes_figure, size_and_performance_figure):
        with pytest.raises(ArtifactError, match="several ways"):
            draw(of, circuit_summary=summary)


@pytest.mark.parametrize(("n_tasks", "steps"), [(1, (0,)), (4, (64, 143000)), (6, (8000,))])
@pytest.mark.parametrize("of", [circuit_sizes_figure, size_and_performance_figure])
def test_it_can_be_printed(draw, own_tasks, long_labels, of, n_tasks, steps, check_print):
    summary = make_summary(tasks=own_tasks[1:], steps=steps)
    check_print(draw(of, circuit_summary=summary, labels=long_labels, tasks=own_tasks[-n_tasks:]))
