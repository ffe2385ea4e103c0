from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from circuitlapse.figures import layout, style


def test_the_number_of_prompts_is_a_range_where_it_differs():
    assert layout.n_prompts(pd.DataFrame({"n": [7, 7]})) == "n = 7"
    assert layout.n_prompts(pd.DataFrame({"n": [7, 9]})) == "n = 7 to 9"


def test_each_group_of_a_legend_starts_a_column():
    models = layout.model_handles(style.looks({name: name for name in "abcd"}).values())
    entries = layout.in_columns(models, models[:1], n_rows=3)
    assert [entry.get_label().strip() for entry in entries] == [*"abcd", "", "", "a", "", ""]


def test_a_legend_has_fewer_columns_where_labels_are_long():
    def columns(label):
        figure = Figure(figsize=(style.WIDTH_IN, 3))
        looks = style.looks({str(i): f"{label} {i}" for i in range(5)})
        layout.legend_below(figure, layout.model_handles(looks.values()))
        return figure.legends[0]._ncols

    assert columns("short") == 5
    assert 1 <= columns("a model with quite a long name") < 4


def test_a_figure_grows_with_its_legend():
    def height(n_models):
        figure = Figure(figsize=(style.WIDTH_IN, 3))
        looks = style.looks({str(i): f"Model {i}" for i in range(n_models)})
        layout.legend_below(figure, layout.model_handles(looks.values()))
        return figure.get_figheight()

    assert height(3) == 3
    assert height(40) > 3.5


def test_only_an_axis_along_which_nothing_is_drawn_loses_its_ticks():
    figure = Figure()
    alone, strip, left, right = figure.subplots(1, 4)
    left.sharey(right)
    layout.say(alone, "nothing")
    strip.set_yticks([0, 1], ["a model", "another"])
    right.plot([1, 2], [3, 4])
    layout.hide_empty_axes(figure)

    def shown(axes):
        ticks = axes.xaxis.get_tick_params(), axes.yaxis.get_tick_params()
        return ticks[0].get("labelbottom", True), ticks[1].get("labelleft", True)

    assert shown(alone) == (False, False)
    assert shown(strip) == (False, True)
    assert shown(left) == (False, True)
    assert shown(right) == (True, True)


def test_a_legend_without_entries_is_none():
    figure = Figure(figsize=(style.WIDTH_IN, 3))
    layout.legend_below(figure, [], [])
    assert not figure.legends


def test_rows_of_models_name_models_at_the_left_and_tasks_above():
    figure, panels = layout.model_rows(
        {"a": "A", "b": "B"}, ["ioi", "mine"], x="x", y="y", height=1.0, gap=0.5
    )
    assert list(panels) == [("a", "ioi"), ("a", "mine"), ("b", "ioi"), ("b", "mine")]
    assert [panels[model, "ioi"].get_ylabel() for model in "ab"] == ["A\ny", "B\ny"]
    assert [panels["a", "mine"].get_title(), panels["b", "mine"].get_title()] == ["mine", ""]
    assert [panels[model, "mine"].get_xlabel() for model in "ab"] == ["", "x"]
    assert figure.get_figheight() == 2 * 1.5 + 1.1


@pytest.mark.parametrize(("n_tasks", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))])
def test_the_grid_of_panels_adapts_to_the_number_of_tasks(n_tasks, shape):
    figure, panels = layout.panel_grid([f"task_{i}" for i in range(n_tasks)])
    spec = next(iter(panels.values())).get_gridspec()
    assert (spec.nrows, spec.ncols) == shape
    assert sum(axes.get_visible() for axes in figure.axes) == n_tasks


@pytest.mark.parametrize(
    ("known", "n_bars", "n_bands"),
    [([1], 1, 0), ([1, 0, 1], 2, 0), ([1, 1, 0, 1], 1, 1), ([0, 1, 1], 0, 1), ([0, 0], 0, 0)],
)
def test_a_point_without_neighbours_has_a_bar_for_its_interval(known, n_bars, n_bands):
    known = np.array(known, dtype=bool)
    tokens = np.arange(1, len(known) + 1)
    line = pd.DataFrame({"tokens": tokens, "low": np.where(known, tokens * 0.5, np.nan)})
    line["high"] = line["low"] + 1
    figure = Figure()
    axes = figure.subplots()
    layout.draw_band(axes, line, ("low", "high"), look=style.looks({"a": "A"})["a"])
    points = [point for bar in axes.lines for point in bar.get_xydata()]
    ends = {tuple(point) for point in points if np.isfinite(point).all()}
    assert len(ends) == 2 * n_bars
    assert len(axes.collections) == n_bands
    assert ends <= {tuple(p) for e in ("low", "high") for p in line[["tokens", e]].to_numpy()}
    assert len(layout.interval_handles(figure)) == (n_bars + n_bands > 0)


def test_the_number_of_prompts_is_not_invented_for_the_results_of_others():
    assert layout.n_prompts(pd.DataFrame({"n": [200, 200]})) == "n = 200"
    assert layout.n_prompts(pd.DataFrame({"n": [1, 1]})) == "published means"
    assert layout.n_prompts(pd.DataFrame({"n": [1, 30]})) == "n = 1 to 30"
