from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from circuitlapse.errors import ArtifactError
from circuitlapse.figures import layout, style


def test_a_model_keeps_its_colour_and_marker_whatever_is_drawn_after_it():
    few, many = style.looks({"a": "A"}), style.looks({"a": "A", "b": "B"})
    assert few["a"] == many["a"]


def test_fifty_six_models_all_look_different():
    models = style.looks({str(i): "same" for i in range(56)})
    assert len(set(models.values())) == 56


def test_neighbouring_colours_differ_in_lightness_or_marker_in_grey_print():
    assert len(set(style.MARKERS[: len(style.COLOURS)])) == len(style.COLOURS)


def test_an_unknown_task_is_named_by_its_identifier():
    assert style.task_title("my_own_task") == "my own task"
    assert style.task_title("IOI_with_BOS") == "IOI with BOS"


@pytest.mark.parametrize(("n_tasks", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))])
def test_the_grid_of_panels_adapts_to_the_number_of_tasks(n_tasks, shape):
    figure, panels = style.panel_grid([f"task_{i}" for i in range(n_tasks)])
    spec = next(iter(panels.values())).get_gridspec()
    assert (spec.nrows, spec.ncols) == shape
    assert sum(axes.get_visible() for axes in figure.axes) == n_tasks


def test_several_methods_in_one_table_are_refused():
    table = pd.DataFrame({"method": ["eap", "eap_ig_inputs"], "ig_steps": [1, 5]})
    with pytest.raises(ArtifactError, match=r"eap \(ig_steps 1\), eap_ig_inputs \(ig_steps 5\)"):
        style.of_one_method(table)


def test_the_number_of_prompts_is_a_range_where_it_differs():
    assert layout.n_prompts(pd.DataFrame({"n": [7, 7]})) == "n = 7"
    assert layout.n_prompts(pd.DataFrame({"n": [7, 9]})) == "n = 7 to 9"


def test_each_group_of_a_legend_starts_a_column():
    models = layout.model_handles(style.looks({name: name for name in "abcd"}).values())
    entries = layout.in_columns(models, models[:1], n_rows=3)
    assert [entry.get_label().strip() for entry in entries] == [*"abcd", "", "", "a", "", ""]


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
    style.draw_band(axes, line, ("low", "high"), look=style.looks({"a": "A"})["a"])
    points = [point for bar in axes.lines for point in bar.get_xydata()]
    ends = {tuple(point) for point in points if np.isfinite(point).all()}
    assert len(ends) == 2 * n_bars
    assert len(axes.collections) == n_bands
    assert ends <= {tuple(p) for e in ("low", "high") for p in line[["tokens", e]].to_numpy()}
    assert len(layout.interval_handles(figure)) == (n_bars + n_bands > 0)


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


def test_saving_twice_gives_the_same_bytes_without_a_date(tmp_path):
    for name in ("a", "b"):
        figure = Figure()
        figure.subplots().plot(np.arange(3), label="line")
        figure.legend()
        for suffix in ("pdf", "png"):
            style.save_figure(figure, tmp_path / f"{name}.{suffix}")
    for suffix in ("pdf", "png"):
        first = (tmp_path / f"a.{suffix}").read_bytes()
        assert first == (tmp_path / f"b.{suffix}").read_bytes()
        assert b"Date" not in first


def test_a_pdf_embeds_truetype_fonts(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, "words")
    style.save_figure(figure, tmp_path / "a.pdf")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_a_users_own_settings_do_not_change_a_figure(tmp_path, monkeypatch):
    import matplotlib as mpl

    style.save_figure(drawn(), tmp_path / "a.png")
    monkeypatch.setitem(mpl.rcParams, "font.size", 20)
    style.save_figure(drawn(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert mpl.rcParams["font.size"] == 20


def drawn() -> Figure:
    with style.in_style():
        figure = Figure()
        figure.text(0.5, 0.5, "words")
    return figure
