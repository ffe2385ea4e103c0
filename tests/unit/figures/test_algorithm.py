from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.algorithm import algorithm_figure, greater_than_figure

LABELS = {"a": "Small", "b": "Large"}
COLUMNS = (("direct", "negative"), ("direct", "positive"), ("s2i", "both"), ("tertiary", "both"))
UNDEFINED = dict.fromkeys(("pct", "pct_low", "pct_high", "null_high"), np.nan)
NO_TOTAL = dict.fromkeys(("total", "total_low", "total_high", "joint"), np.nan)


def make_consistency(**changes):
    rows = [
        {
            "model": model,
            "step": step,
            "tokens": step * 1000,
            "panel": panel,
            "denominator": denominator,
            "sign": sign,
            "pct": 10.0 * (step + at + (denominator == "all")),
            "null_high": 5.0 * step,
            "total": 0.1 * step + at,
            "joint": -0.2 * step,
            "n": 70,
            "n_heads": 1 + step,
            "status": "ok",
        }
        for model in LABELS
        for step in (0, 1, 2, 4)
        for at, (panel, sign) in enumerate(COLUMNS)
        for denominator in ("circuit", "all")
    ]
    frame = pd.DataFrame(rows)
    frame["pct_low"], frame["pct_high"] = frame["pct"] - 3, frame["pct"] + 3
    frame["total_low"], frame["total_high"] = frame["total"] - 0.1, frame["total"] + 0.1
    return frame.assign(**changes)


def texts(axes):
    return [" ".join(text.get_text().split()) for text in axes.texts]


def test_every_panel_has_a_line_per_model_of_the_heads_of_the_circuit(drawn_line, pick):
    table = make_consistency()
    figure = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1)
    grid = np.array(figure.axes).reshape(2, len(COLUMNS))
    for (share, total), (panel, sign) in zip(grid.T, COLUMNS, strict=True):
        for place, (model, label) in enumerate(LABELS.items()):
            wanted = {"model": model, "panel": panel, "sign": sign, "denominator": "circuit"}
            rows = pick(table, **wanted).query("step > 0")
            np.testing.assert_array_equal(drawn_line(share, label), rows[["tokens", "pct"]])
            np.testing.assert_array_equal(drawn_line(total, label), rows[["tokens", "total"]])
            null, together = (axes.lines[2 * place + 1].get_ydata() for axes in (share, total))
            np.testing.assert_array_equal(null, rows["null_high"])
            np.testing.assert_array_equal(together, -rows["joint"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == ["95 % of shuffled scores", "heads with a role, together"]


def test_where_all_effects_are_too_small_their_total_is_drawn_and_no_share():
    table = make_consistency(**UNDEFINED, status="small_total")
    figure = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1)
    assert all(texts(axes) == ["all effects are too small"] for axes in figure.axes[:4])
    assert all(len(axes.lines) == 4 for axes in figure.axes[4:])


@pytest.mark.parametrize(
    ("status", "words"), [("no_name_movers", "no name movers"), ("no_circuit", "no circuit")]
)
def test_a_panel_without_a_share_says_why(status, words):
    table = make_consistency(**UNDEFINED, **NO_TOTAL, status=status)
    figure = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1)
    assert all(texts(axes) == [words] for axes in figure.axes)


def test_that_a_model_does_not_do_the_task_yet_is_no_reason_where_it_does_later():
    table = make_consistency(**UNDEFINED, **NO_TOTAL, status="no_behaviour")
    table.loc[table["step"] == 4, "status"] = "no_s2i_heads"
    figure = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1)
    assert all(texts(axes) == ["no S-inhibition heads"] for axes in figure.axes)
    figure = algorithm_figure(table.query("step < 4"), labels=LABELS, ioi_task="ioi", min_step=1)
    assert texts(figure.axes[0]) == ["the model does not do the task"]


def test_that_heads_are_missing_is_no_reason_where_they_are_there_but_without_effect():
    """However few the steps are."""
    table = make_consistency(**UNDEFINED, **NO_TOTAL, status="no_s2i_heads")
    table.loc[table["step"] == 4, "status"] = "no_effect"
    figure = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1)
    assert all(texts(axes) == ["no head has an effect"] for axes in figure.axes)


def test_without_an_ioi_or_a_greater_than_task_every_panel_says_so_and_has_no_ticks():
    table = make_consistency().iloc[:0]
    for figure in (
        algorithm_figure(table, labels=LABELS, ioi_task=None, min_step=1),
        greater_than_figure(
            make_checks({"a0.h0": [1, 1, 1, 1]}),
            circuit_summary=SUMMARY,
            labels=LABELS,
            greater_than_task=None,
            min_step=1,
        ),
    ):
        assert all(texts(axes) == ["no such task in this run"] for axes in figure.axes)
        for axes in figure.axes:
            assert not axes.xaxis.get_tick_params()["labelbottom"]
            assert not axes.yaxis.get_tick_params()["labelleft"]


def test_the_note_counts_prompts_and_heads_and_no_line_runs_through_it():
    table = make_consistency(pct=100.0, pct_low=100.0, pct_high=100.0)
    axes = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1).axes[0]
    assert texts(axes) == ["n = 70; 2 to 5 heads"]
    axes.figure.draw_without_rendering()
    line = axes.transData.transform((1000, 100.0))[1]
    assert axes.texts[0].get_window_extent().y0 > line + 3


def test_lines_that_coincide_are_all_seen():
    table = make_consistency(pct=50.0)
    axes = algorithm_figure(table, labels=LABELS, ioi_task="ioi", min_step=1).axes[0]
    first, second = axes.lines[::2]
    assert first.get_linewidth() > second.get_linewidth() + 1
    assert first.get_markersize() > second.get_markersize() + 1


def test_an_empty_table_says_so_in_every_panel():
    figure = algorithm_figure(
        make_consistency().iloc[:0], labels=LABELS, ioi_task="ioi", min_step=1
    )
    assert all(texts(axes) == ["not analysed"] for axes in figure.axes)


STEPS = (0, 1, 2, 4)
SUMMARY = pd.DataFrame({"model": "a", "task": "gt", "step": STEPS})
SUMMARY["tokens"] = 1000 * SUMMARY["step"]


def make_checks(values, check="attn_yy", steps=STEPS):
    """Node -> its values at the steps; None where it is not part of the circuit."""
    rows = [
        {"step": step, "tokens": step * 1000, "node": node, "value": value}
        for node, at in values.items()
        for step, value in zip(steps, at, strict=True)
        if value is not None
    ]
    return pd.DataFrame(rows).assign(model="a", task="gt", check=check, n=100)


@pytest.fixture
def draw_checks():
    """The first row of panels, of a model analysed at all of `STEPS`."""

    def draw(checks):
        return greater_than_figure(
            checks, circuit_summary=SUMMARY, labels=LABELS, greater_than_task="gt", min_step=1
        ).axes[:3]

    return draw


def names(axes):
    return {line.get_label() for line in axes.lines if not line.get_label().startswith("_")}


def test_of_more_than_six_nodes_the_largest_of_the_last_circuit_are_drawn(draw_checks, drawn_line):
    """a0.h9 was larger than all, but is no part of the last circuit any more."""
    values = {f"a1.h{node}": [(node + step) / 20 for step in STEPS] for node in range(8)}
    axes, other, _ = draw_checks(make_checks(values | {"a0.h9": [0.9, 0.9, 0.9, None]}))
    assert names(axes) == {f"a1.h{node}" for node in range(2, 8)}
    assert drawn_line(axes, "a1.h7").tolist() == [[1000, 0.4], [2000, 0.45], [4000, 0.55]]
    assert axes.get_legend().get_title().get_text() == "3 more not drawn"
    assert texts(other) == ["no such node in a circuit"]


def test_mlps_that_lower_later_years_are_drawn_before_those_that_hardly_raise_them(draw_checks):
    values = {f"m{at}": [0.0, 0.0, 0.0, value] for at, value in enumerate([0.1] * 6 + [-3.0])}
    axes = draw_checks(make_checks(values, check="mlp_gap"))[2]
    assert names(axes) == {"m6", "m0", "m1", "m2", "m3", "m4"}
    assert axes.get_legend().get_title().get_text() == "1 more not drawn"


def test_a_node_that_left_the_circuit_is_drawn_if_there_is_room(draw_checks):
    axes = draw_checks(make_checks({"a0.h0": [0, 0.9, None, None], "a0.h1": [0, 0.1, 0.1, 0.1]}))[0]
    assert names(axes) == {"a0.h0", "a0.h1"}
    assert axes.get_legend().get_title().get_text() == ""


@pytest.mark.parametrize("beside", [0.5, None], ids=["another node is", "nothing is"])
def test_a_line_breaks_at_a_step_where_the_node_is_not_in_the_circuit(draw_checks, beside):
    """Also where no node at all is, and the table has no row of that step."""
    values = {"a0.h0": [0.1, 0.2, None, 0.4], "a0.h1": [0.5, 0.5, beside, 0.5]}
    axes = draw_checks(make_checks(values))[0]
    (line,) = (line for line in axes.lines if line.get_label() == "a0.h0")
    np.testing.assert_array_equal(line.get_xdata(), [1000, 2000, 4000])
    np.testing.assert_array_equal(line.get_ydata(), [0.2, np.nan, 0.4])


def test_a_head_looks_the_same_in_both_panels(draw_checks):
    """Though the order of interest differs between them."""
    look = make_checks({"a1.h0": [0.9] * 4, "a2.h0": [0.1] * 4})
    write = make_checks({"a1.h0": [0.1] * 4, "a2.h0": [0.9] * 4}, check="lens_yy")
    left, middle, _ = draw_checks(pd.concat([look, write]))
    seen = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines}
        for axes in (left, middle)
    ]
    for name in ("a1.h0", "a2.h0"):
        assert seen[0][name] == seen[1][name]
    assert seen[0]["a1.h0"] != seen[0]["a2.h0"]


def test_a_panel_of_checks_says_n_and_what_is_known_of_chance(draw_checks):
    look = make_checks({"a0.h0": [0.1] * 4})
    write = make_checks({"a0.h0": [0.1] * 4}, check="lens_yy")
    left, middle, right = draw_checks(pd.concat([look, write]))
    assert texts(left) == texts(middle) == ["n = 100"]
    chance = [
        [line.get_ydata()[0] for line in axes.lines if line.get_label() == "_chance"]
        for axes in (left, middle, right)
    ]
    assert chance == [[], [0.02], []]
