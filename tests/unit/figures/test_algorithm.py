from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures import algorithm_figure, greater_than_figure, swaps_figure

LABELS = {"a": "Small", "b": "Large"}


def make_consistency(**changes):
    rows = [
        {
            "model": model,
            "step": step,
            "tokens": step * 1000,
            "panel": panel,
            "denominator": denominator,
            "pct": 10.0 * (step + at + (denominator == "all")),
            "n": 70,
            "status": "ok",
        }
        for model in LABELS
        for step in (0, 1, 2, 4)
        for at, panel in enumerate(("direct", "s2i", "tertiary"))
        for denominator in ("circuit", "all")
    ]
    frame = pd.DataFrame(rows)
    frame["pct_low"], frame["pct_high"] = frame["pct"] - 3, frame["pct"] + 3
    return frame.assign(**changes)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_every_panel_has_a_line_per_model_of_the_chosen_denominator(drawn_line, pick):
    table = make_consistency()
    figure = algorithm_figure(table, labels=LABELS, denominator="all")
    for axes, panel in zip(figure.axes, ("direct", "s2i", "tertiary"), strict=True):
        for model, label in LABELS.items():
            wanted = {"model": model, "panel": panel, "denominator": "all"}
            rows = pick(table, **wanted).query("step > 0")
            np.testing.assert_array_equal(drawn_line(axes, label), rows[["tokens", "pct"]])


@pytest.mark.parametrize(
    ("status", "words"), [("no_name_movers", "no name movers"), ("no_circuit", "no circuit")]
)
def test_a_panel_without_a_share_says_why(status, words):
    table = make_consistency(pct=np.nan, pct_low=np.nan, pct_high=np.nan, status=status)
    figure = algorithm_figure(table, labels=LABELS)
    assert all(texts(axes) == [words] for axes in figure.axes)


def test_an_empty_table_says_so_in_every_panel():
    figure = algorithm_figure(make_consistency().iloc[:0], labels=LABELS)
    assert all(texts(axes) == ["not analysed"] for axes in figure.axes)


def make_checks(n_nodes):
    rows = [
        {
            "model": "a",
            "step": step,
            "tokens": step * 1000,
            "node": f"a1.h{node}",
            "check": "attn_yy",
            "value": (node + step) / 20,
            "n": 100,
        }
        for node in range(n_nodes)
        for step in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def test_the_six_nodes_with_the_largest_last_values_are_drawn(drawn_line):
    figure = greater_than_figure(make_checks(8), labels=LABELS)
    axes = figure.axes[0]
    assert {line.get_label() for line in axes.lines} == {f"a1.h{node}" for node in range(2, 8)}
    np.testing.assert_array_equal(drawn_line(axes, "a1.h7"), [[1000, 0.4], [2000, 0.45]])
    assert texts(figure.axes[1]) == ["no such node in a circuit"]


def make_swaps():
    rows = [
        {
            "model": "a",
            "task": "ioi",
            "head_set": head_set,
            "source_step": source,
            "target_step": target,
            "metric": "logit_diff",
            "unit": "logits",
            "baseline": target / 10,
            "swapped": target / 10 + gain,
            "difference": gain,
            "difference_low": gain - 0.25,
            "difference_high": gain + 0.5,
            "lowest_draw": target / 10 + lowest,
            "highest_draw": target / 10 + highest,
            "n": 70,
        }
        for head_set, gain, lowest, highest in (
            ("name_movers", 2.0, np.nan, np.nan),
            ("random_like_name_movers", 0.5, 0.0, 1.5),
        )
        for source in (20, 40)
        for target in (0, 5, 10)
        if target < source
    ]
    return pd.DataFrame(rows)


def test_swaps_of_the_last_source_are_drawn_beside_what_was_not_swapped():
    figure = swaps_figure(make_swaps(), labels=LABELS, tasks=["ioi", "greater_than"])
    axes = figure.axes[0]
    baseline, swapped, random = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(baseline, [[0, 0], [5, 0.5], [10, 1]])
    np.testing.assert_allclose(swapped, [[0, 2], [5, 2.5], [10, 3]])
    np.testing.assert_allclose(random, [[0, 0.5], [5, 1], [10, 1.5]])
    assert texts(axes) == ["heads of step 40, n = 70"]
    assert texts(figure.axes[1]) == ["not swapped"]


def test_bars_are_intervals_of_the_difference_and_the_shade_holds_all_draws():
    figure = swaps_figure(make_swaps(), labels={"a": "Small"}, tasks=["ioi"])
    bars, shade = figure.axes[0].collections
    found = [segment.tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(
        found, [[[0, 1.75], [0, 2.5]], [[5, 2.25], [5, 3]], [[10, 2.75], [10, 3.5]]]
    )
    low, high = shade.get_paths()[0].get_extents().get_points()
    np.testing.assert_allclose([low, high], [[0, 0], [10, 2.5]])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"bootstrap interval", "lowest to highest draw"} <= set(named)


def test_without_a_control_the_key_has_none():
    table = make_swaps().query("head_set == 'name_movers'")
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    named = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "random" not in named
    assert "draw" not in named


def test_a_set_without_heads_says_so():
    table = make_swaps().assign(swapped=np.nan)
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    assert texts(figure.axes[0]) == ["no such heads"]
