from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.figures.behaviour import behaviour_figure
from tests.unit.figures.conftest import make_behaviour


@pytest.fixture
def figure(behaviour, labels, tasks):
    return behaviour_figure(behaviour, labels=labels, tasks=tasks, min_step=1)


def panels(figure) -> dict[str, object]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}


def test_there_is_a_panel_per_task_in_the_order_of_the_configuration(figure):
    assert list(panels(figure)) == [
        "Indirect object identification (IOI)",
        "Gendered pronoun (GP)",
        "Greater-than (GT)",
        "Subject-verb agreement (SVA)",
    ]


def test_axes_carry_units_and_x_is_logarithmic(figure):
    for axes in panels(figure).values():
        assert axes.get_xlabel() == "Training data (tokens)"
        assert axes.get_xscale() == "log"
        assert len(axes.get_xticks(minor=True)) > len(axes.get_xticks())
    titles = [axes.get_ylabel() for axes in panels(figure).values()]
    logits, probability = "Logit difference\n(logits)", "Probability difference\n(probability)"
    assert titles == [logits, logits, probability, probability]


def test_every_line_is_the_table_without_step_zero(
    figure, behaviour, labels, tasks, drawn_line, pick
):
    for task, axes in zip(tasks, panels(figure).values(), strict=True):
        for model, label in labels.items():
            rows = pick(behaviour, model=model, task=task).query("step > 0")
            np.testing.assert_array_equal(drawn_line(axes, label), rows[["tokens", "value"]])


def test_thin_dotted_lines_are_the_metric_on_corrupted_prompts(
    figure, behaviour, labels, tasks, pick
):
    for task, axes in zip(tasks, panels(figure).values(), strict=True):
        lines = [line for line in axes.lines if line.get_linestyle() == ":"]
        for model, line in zip(labels, lines, strict=True):
            rows = pick(behaviour, model=model, task=task).query("step > 0")
            np.testing.assert_array_equal(line.get_xydata(), rows[["tokens", "value_corrupted"]])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "corrupted prompts" in legend


def test_bands_reach_from_the_lower_to_the_upper_end_of_the_interval(
    figure, behaviour, labels, pick
):
    axes = panels(figure)["Gendered pronoun (GP)"]
    for model, band in zip(labels, axes.collections, strict=True):
        rows = pick(behaviour, model=model, task="gendered_pronoun").query("step > 0")
        corners = {tuple(point) for point in band.get_paths()[0].vertices}
        for end in ("ci_low", "ci_high"):
            assert set(rows[["tokens", end]].itertuples(index=False, name=None)) <= corners


def test_min_step_leaves_out_earlier_steps(behaviour, labels, tasks, drawn_line):
    figure = behaviour_figure(behaviour, labels=labels, tasks=tasks, min_step=128)
    rows = behaviour.query("model == 'small' and task == 'ioi' and step >= 128")
    line = drawn_line(figure.axes[0], labels["small"])
    np.testing.assert_array_equal(line[:, 0], rows["tokens"])


def test_the_legend_names_every_model_and_the_band(figure, labels):
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *labels.values(),
        "bootstrap interval",
        "corrupted prompts",
    ]


def test_a_panel_without_data_says_so(behaviour, labels):
    figure = behaviour_figure(behaviour, labels=labels, tasks=["ioi", "my_own_task"], min_step=1)
    axes = panels(figure)["my own task"]
    assert [text.get_text() for text in axes.texts] == ["not analysed"]
    assert not axes.lines


def test_an_empty_table_says_so_in_every_panel(behaviour, labels, tasks):
    figure = behaviour_figure(behaviour[:0], labels=labels, tasks=tasks, min_step=1)
    figure.draw_without_rendering()
    words = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert words == [["not analysed"]] * 4


def test_a_single_step_shows_its_interval(behaviour, labels, tasks):
    figure = behaviour_figure(
        behaviour.query("step == 512"), labels=labels, tasks=tasks, min_step=1
    )
    for axes in figure.axes:
        bars = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert len(bars) == len(labels)
        left, right = axes.get_xlim()
        for line in bars:
            assert 2 * left < np.nanmin(line.get_xdata()) < right / 2
    assert figure.legends[0].get_texts()[-2].get_text() == "bootstrap interval"


@pytest.mark.parametrize(
    ("min_step", "reason"),
    [(1, "only step 0, which a logarithmic axis cannot show"), (9, "only steps before 9")],
)
def test_a_step_that_is_not_drawn_is_not_called_missing(behaviour, labels, min_step, reason):
    early = behaviour[behaviour["step"] < min_step]
    figure = behaviour_figure(early, labels=labels, tasks=["ioi"], min_step=min_step)
    (text,) = figure.axes[0].texts
    assert text.get_text().replace("\n", " ") == reason
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == [*labels.values()]


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("steps", [(0, 512), (8000, 16000)])
def test_it_can_be_printed(labels, own_tasks, n_tasks, steps, check_print):
    shown = own_tasks[:n_tasks]
    behaviour = make_behaviour(tasks=own_tasks[1:], steps=steps)
    check_print(behaviour_figure(behaviour, labels=labels, tasks=shown, min_step=1))
