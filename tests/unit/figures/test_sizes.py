from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.sizes import (
    circuit_sizes_figure,
    size_and_performance_figure,
    size_correlation_figure,
)
from tests.unit.figures.conftest import TOKENS_PER_STEP, make_behaviour, make_summary
from tests.unit.figures.training_tables import make_correlation

NUMBERS = ["n_edges", "n_nodes"]


@pytest.fixture
def summary() -> pd.DataFrame:
    table = make_summary()
    return table.assign(n_nodes=(table["n_edges"] * 0.3 + 2).round().astype("Int32"))


@pytest.fixture
def draw(summary, labels, tasks):
    def figure(of=circuit_sizes_figure, **changes: object):
        tables = {"circuit_summary": summary, "labels": labels, "tasks": tasks}
        return of(**tables | {"min_step": 1} | changes)

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
        with pytest.raises(
            ArtifactError, match=r"^circuit_summary: expected circuits of one method"
        ):
            draw(of, circuit_summary=summary)


@pytest.mark.parametrize(("n_tasks", "steps"), [(1, (0,)), (4, (64, 143000)), (6, (8000,))])
@pytest.mark.parametrize("of", [circuit_sizes_figure, size_and_performance_figure])
def test_it_can_be_printed(draw, own_tasks, long_labels, of, n_tasks, steps, check_print):
    summary = make_summary(tasks=own_tasks[1:], steps=steps)
    check_print(draw(of, circuit_summary=summary, labels=long_labels, tasks=own_tasks[-n_tasks:]))


PARAMETERS = {"small": 1e5, "medium": 4e5, "large": 1e6}
STEPS = (64, 8000, 16000, 143000)


@pytest.fixture
def draw_fit(labels, own_tasks):
    def figure(**changes: object):
        tables = {
            "circuit_summary": make_summary(tasks=own_tasks, steps=STEPS).assign(status="ok"),
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
    draw_fit, labels, drawn_line, row, count
):
    summary = make_summary(steps=STEPS).assign(status="ok")
    expected = by_hand(summary, count)
    axes = draw_fit(circuit_summary=summary, tasks=["sva"]).axes[row]
    points = np.concatenate([drawn_line(axes, label) for label in labels.values()])
    np.testing.assert_allclose(points, expected[:, :2])
    bars = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bars, expected[:, 2:])
    assert axes.get_xscale() == "log"


def test_what_cannot_be_compared_is_not_drawn(draw_fit, labels, drawn_line):
    """A circuit that did not reach the threshold takes its step from all models."""
    summary = make_summary(steps=STEPS).assign(status="ok")
    censored = (summary["model"] == "small") & (summary["step"] == STEPS[1])
    summary.loc[censored, "status"] = "not_reached"
    axes = draw_fit(circuit_summary=summary, tasks=["sva"]).axes[0]
    for model, label in labels.items():
        late = (summary["model"] == model) & (summary["task"] == "sva")
        late &= summary["step"].isin(STEPS[2:])
        assert drawn_line(axes, label)[0, 1] == pytest.approx(summary.loc[late, "n_edges"].mean())


def test_each_panel_says_its_correlation_with_the_logarithm_of_size(draw_fit, own_tasks):
    axes = draw_fit().axes
    said = [[text.get_text() for text in one.texts] for one in axes]
    # r falls by 0.1 from row to row: edge params, edge log_params, node params, node log_params
    assert said[0] == ["r = 0.80\np = 0.04\n3 models, 4 steps"]
    assert said[4] == ["r = 0.60\np = 0.08\n3 models, 4 steps"]
    assert said[1] == ["r = 0.40\np = 0.12\n3 models, 4 steps"]


def test_a_very_small_p_and_an_undefined_r_are_said_in_words(draw_fit):
    table = make_correlation(tasks=["ioi", "sva"])
    table.loc[table["task"] == "ioi", "p"] = 0.0002
    table.loc[table["task"] == "sva", ["r", "p"]] = np.nan
    said = [
        one.texts[0].get_text()
        for one in draw_fit(size_correlation=table, tasks=["ioi", "sva"]).axes
    ]
    assert said[0] == "r = 0.80\np < 0.001\n3 models, 4 steps"
    assert said[1] == "r not defined\n3 models, 4 steps"


def test_correlation_an_empty_panel_says_why(draw_fit):
    said = [axes.texts[0].get_text() for axes in draw_fit(tasks=["ioi", "mine"]).axes]
    assert said[1] == said[3] == "not analysed"
    late = make_correlation(tasks=["ioi"], min_step=150000)
    figure = draw_fit(size_correlation=late, tasks=["ioi"])
    assert "middle half of the steps" not in [text.get_text() for text in figure.legends[0].texts]
    said = [axes.texts[0].get_text() for axes in figure.axes]
    assert {" ".join(text.split()) for text in said} == {
        "no faithful circuits at the same step, from 150000 on"
    }


def test_the_legend_names_models_and_bars(draw_fit, labels):
    entries = [text.get_text() for text in draw_fit().legends[0].get_texts()]
    assert entries == [*labels.values(), "middle half of the steps"]


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
def test_correlation_it_can_be_printed(draw_fit, own_tasks, long_labels, n_tasks, check_print):
    check_print(draw_fit(labels=long_labels, tasks=own_tasks[-n_tasks:]))
