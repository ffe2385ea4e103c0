from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.circuits import circuits_figure
from tests.unit.figures.conftest import make_summary

HELD_OUT = ["f_raw_held_out", "f_raw_held_out_low", "f_raw_held_out_high"]
NUMBERS = ["edge_fraction", "n_edges_low", "n_edges_high", *HELD_OUT]


@pytest.fixture
def grid(summary, labels, tasks):
    """Axes in rows: size, faithfulness, steps without behaviour; a column per task."""
    figure = circuits_figure(summary, labels=labels, tasks=tasks, threshold=0.8, min_step=1)
    return np.array(figure.axes).reshape(3, len(tasks))


def test_axes_carry_units_and_scales(grid):
    assert [axes.get_ylabel() for axes in grid[:2, 0]] == [
        "Circuit size\n(% of edges)",
        "Faithfulness\n(circuit / model)",
    ]
    assert {axes.get_xlabel() for axes in grid[2]} == {"Training data (tokens)"}
    assert {axes.get_xscale() for axes in grid.flat} == {"log"}
    assert {axes.get_yscale() for axes in grid[0]} == {"log"}
    assert {axes.get_yscale() for axes in grid[1]} == {"linear"}


@pytest.mark.parametrize(
    ("row", "column", "factor"), [(0, "edge_fraction", 100), (1, "f_raw_held_out", 1)]
)
def test_every_line_is_the_table(
    grid, summary, labels, tasks, drawn_line, pick, row, column, factor
):
    for task, axes in zip(tasks, grid[row], strict=True):
        for model, label in labels.items():
            rows = pick(summary, model=model, task=task).dropna(subset=[column])
            expected = rows[["tokens", column]].to_numpy(dtype=float) * [1, factor]
            np.testing.assert_allclose(drawn_line(axes, label), expected, rtol=1e-12)


def test_without_halves_faithfulness_is_that_of_the_prompts_of_the_search(
    summary, labels, tasks, drawn_line, pick
):
    """For the task without halves only: elsewhere a missing held-out number stays missing."""
    summary.loc[summary["task"] == "sva", HELD_OUT] = np.nan
    figure = circuits_figure(summary, labels=labels, tasks=tasks, threshold=0.8, min_step=1)
    for task, axes in zip(tasks, figure.axes[4:8], strict=True):
        column = "f_raw" if task == "sva" else "f_raw_held_out"
        for model, label in labels.items():
            rows = pick(summary, model=model, task=task).dropna(subset=[column])
            np.testing.assert_allclose(drawn_line(axes, label)[:, 1], rows[column])


def test_a_line_breaks_where_there_is_no_circuit(summary, labels, tasks):
    gap = (summary["task"] == "sva") & (summary["step"] == 16000)
    summary.loc[gap, ["f_raw_held_out", "edge_fraction"]] = np.nan
    summary.loc[gap, "status"] = "no_behaviour"
    figure = circuits_figure(summary, labels=labels, tasks=tasks, threshold=0.8, min_step=1)
    line = next(line for line in figure.axes[3].lines if line.get_label() == labels["large"])
    at_gap = line.get_xdata() == summary.loc[gap, "tokens"].iloc[0]
    assert np.isnan(line.get_ydata()[at_gap]).all()
    assert at_gap.sum() == 1


def test_the_strip_shows_every_step_without_behaviour(
    grid, summary, labels, tasks, drawn_line, pick
):
    for task, axes in zip(tasks, grid[2], strict=True):
        for row, (model, label) in enumerate(labels.items()):
            absent = pick(summary, model=model, task=task, status="no_behaviour")
            points = drawn_line(axes, label)
            np.testing.assert_array_equal(points[:, 0], absent["tokens"])
            assert (points[:, 1] == row).all()
    assert [label.get_text() for label in grid[2, 0].get_yticklabels()] == list(labels.values())


@pytest.mark.parametrize(
    ("status", "is_this_mark"),
    [
        ("ok", lambda m: m.get_markerfacecolor() not in ("white", "none")),
        ("not_reached", lambda m: m.get_markerfacecolor() == "white"),
        ("overshoot", lambda m: m.get_markeredgecolor() == "black"),
    ],
)
def test_each_status_has_its_own_mark(grid, summary, tasks, pick, status, is_this_mark):
    for task, axes in zip(tasks, grid[1], strict=True):
        rows = pick(summary, task=task, status=status)
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        marked = np.concatenate([m.get_xydata() for m in marks if is_this_mark(m)])
        expected = set(rows[["tokens", "f_raw_held_out"]].itertuples(index=False, name=None))
        found = {tuple(point) for point in marked}
        assert expected <= found
        if status != "ok":
            assert expected == found


def test_a_dashed_line_is_at_the_threshold(grid):
    for axes in grid[1]:
        (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert list(line.get_ydata()) == [0.8, 0.8]


def test_a_wide_interval_does_not_squash_the_points(summary, labels, tasks):
    summary.loc[summary["f_raw_held_out"].notna(), "f_raw_held_out_high"] = 1000.0
    figure = circuits_figure(summary, labels=labels, tasks=tasks, threshold=0.8, min_step=1)
    _, top = figure.axes[len(tasks)].get_ylim()
    assert summary["f_raw_held_out"].max() < top < 3


def test_sizes_within_one_decade_still_have_labels(summary, labels):
    defined = summary["edge_fraction"].notna()
    summary.loc[defined, "edge_fraction"] = np.linspace(0.02, 0.08, defined.sum())
    figure = circuits_figure(summary, labels=labels, tasks=["ioi"], threshold=0.8, min_step=1)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    inside = [
        tick for tick in figure.axes[0].yaxis.get_major_ticks() if low < tick.get_loc() < high
    ]
    assert len(inside) >= 2
    assert {tick.label1.get_text() for tick in inside} <= {"2", "4", "5", "6", "8"}


def test_a_task_that_no_model_does_says_so(summary, labels):
    none = summary["task"] == "ioi"
    summary.loc[none, "status"] = "no_behaviour"
    summary.loc[none, [*NUMBERS, "f_raw"]] = np.nan
    figure = circuits_figure(summary, labels=labels, tasks=["ioi"], threshold=0.8, min_step=1)
    for axes in figure.axes[:2]:
        assert [text.get_text() for text in axes.texts] == ["no circuits:\nno behaviour"]


def test_a_task_without_data_says_so(summary, labels):
    figure = circuits_figure(
        summary, labels=labels, tasks=["ioi", "mine"], threshold=0.8, min_step=1
    )
    assert [text.get_text() for text in figure.axes[1].texts] == ["not analysed"]


def test_an_empty_table_says_so_in_every_panel(summary, labels, tasks):
    figure = circuits_figure(summary[:0], labels=labels, tasks=tasks, threshold=0.8, min_step=1)
    figure.draw_without_rendering()
    words = [[text.get_text() for text in axes.texts] for axes in figure.axes[:8]]
    assert words == [["not analysed"]] * 8


def test_two_methods_are_refused(summary, labels, tasks):
    summary.loc[0, "ig_steps"] = 30
    with pytest.raises(ArtifactError, match=r"^circuit_summary: expected circuits of one method"):
        circuits_figure(summary, labels=labels, tasks=tasks, threshold=0.8, min_step=1)


def test_a_circuit_between_steps_without_one_shows_its_interval(summary, labels):
    alone = summary["step"] == 8000
    summary.loc[~alone, "status"] = "no_behaviour"
    summary.loc[~alone, NUMBERS] = np.nan
    figure = circuits_figure(
        summary, labels=labels, tasks=["gendered_pronoun"], threshold=0.8, min_step=1
    )
    rows = summary[alone & (summary["task"] == "gendered_pronoun")]
    for axes, ends, scale in (
        (figure.axes[0], ("n_edges_low", "n_edges_high"), 100 / rows["n_edges_total"]),
        (figure.axes[1], ("f_raw_held_out_low", "f_raw_held_out_high"), 1),
    ):
        bars = [line.get_ydata()[:2] for line in axes.lines if len(line.get_xdata()) == 3]
        expected = rows[list(ends)].mul(scale, axis=0) if axes is figure.axes[0] else rows[[*ends]]
        np.testing.assert_allclose(bars, expected.to_numpy())


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text().strip()]


@pytest.mark.parametrize("status", ["ok", "not_reached", "overshoot", "no_behaviour"])
def test_the_legend_lists_only_what_is_drawn(summary, labels, status):
    names = {
        "ok": "faithful circuit",
        "not_reached": "threshold not reached",
        "overshoot": "overshoots the model",
        "no_behaviour": "no behaviour, no circuit",
    }
    only = summary[(summary["status"] == status) & (summary["task"] == "ioi")]
    assert len(only)
    figure = circuits_figure(only, labels=labels, tasks=["ioi"], threshold=0.8, min_step=1)
    interval = [] if status == "no_behaviour" else ["bootstrap interval"]
    expected = [*labels.values(), names[status], "threshold (0.8)", *interval]
    assert legend_of(figure) == expected


def test_step_zero_alone_is_not_called_missing(labels):
    only = make_summary(tasks=("ioi",), steps=(0,))
    figure = circuits_figure(only, labels=labels, tasks=["ioi"], threshold=0.8, min_step=1)
    words = [text.get_text().replace("\n", " ") for axes in figure.axes[:2] for text in axes.texts]
    assert words == ["only step 0, which a logarithmic axis cannot show"] * 2


def test_names_beside_the_strip_are_cut_and_those_in_the_legend_are_not(summary, long_labels):
    figure = circuits_figure(summary, labels=long_labels, tasks=["ioi"], threshold=0.8, min_step=1)
    names = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    for name, label in zip(names, long_labels.values(), strict=True):
        assert name.endswith("…")
        assert label.startswith(name[:-1])
        assert label in [entry.replace("\n", " ") for entry in legend_of(figure)]


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
@pytest.mark.parametrize("steps", [(0,), (8000, 16000), (64, 143000)])
def test_it_can_be_printed(labels, own_tasks, n_tasks, steps, check_print):
    summary = make_summary(tasks=own_tasks[1:], steps=steps)
    absent = summary["task"] == "ioi_bos"
    summary.loc[absent, "status"] = "no_behaviour"
    summary.loc[absent, NUMBERS] = np.nan
    shown = own_tasks[-n_tasks:]
    check_print(circuits_figure(summary, labels=labels, tasks=shown, threshold=0.8, min_step=1))


def test_long_names_of_models_stay_inside(summary, tasks, long_labels, check_print):
    check_print(
        circuits_figure(summary, labels=long_labels, tasks=tasks, threshold=0.8, min_step=1)
    )


def test_circuits_that_fail_a_test_are_underlined(labels):
    summary = make_summary(tasks=["ioi"])

    def underlined(table):
        figure = circuits_figure(table, labels=labels, tasks=["ioi"], threshold=0.8, min_step=1)
        names = ("_needless", "_rest_knows")
        lines = [line for axes in figure.axes for line in axes.lines if line.get_label() in names]
        marked = [(line.get_label(), len(line.get_xdata())) for line in lines]
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        return marked, [text for text in legend if ":" in text]

    passed = summary.assign(q_minimality=0.01, q_independence=0.5)
    assert underlined(passed) == ([], [])
    steps = sorted(set(summary.loc[summary["certificate_status"] == "ok", "step"]))
    last = passed["step"] == steps[-1]
    failed = passed.assign(
        q_minimality=passed["q_minimality"].where(~last, 0.5),
        q_independence=passed["q_independence"].where(~last, 0.01),
    )
    marked, legend = underlined(failed)
    assert set(marked) == {("_needless", 1), ("_rest_knows", 1)}
    assert legend == ["size: not all edges needed", "faithfulness: rest knows too"]
    off = failed.assign(certificate_status="off", q_minimality=np.nan, q_independence=np.nan)
    assert underlined(off) == ([], [])
