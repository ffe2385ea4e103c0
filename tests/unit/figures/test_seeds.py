from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.seeds import seeds_figure
from tests.unit.figures.conftest import make_behaviour, make_summary
from tests.unit.figures.training_tables import with_seeds

SEEDS = ["small", "small-seed1", "small-seed2"]
NAMES = dict(
    zip(SEEDS, ("Small (0.1 M)", "Small, other weights", "Small, other data"), strict=True)
)


@pytest.fixture
def draw(labels, tasks):
    behaviour = with_seeds(make_behaviour(), "value", of="small", n_seeds=3)
    summary = with_seeds(make_summary(), "n_edges", of="small", n_seeds=3)
    variants = {"small": SEEDS, "medium": ["medium"]}

    def figure(**changes: object):
        tables = {
            "behaviour": behaviour,
            "circuit_summary": summary,
            "labels": labels,
            "tasks": tasks,
            "min_step": 1,
        }
        tables |= {"variants": variants, "run_labels": NAMES} | changes
        return seeds_figure(**tables)

    figure.behaviour, figure.summary = behaviour, summary
    return figure


def test_the_bold_line_is_the_mean_over_seeds_and_thin_ones_are_seeds(draw, drawn_line, pick):
    axes = draw(tasks=["sva"]).axes[0]
    own = pick(draw.behaviour, model="small", task="sva").query("step > 0")
    for factor, name in zip((1.0, 1.1, 1.2), SEEDS, strict=True):
        expected = np.column_stack([own["tokens"], factor * own["value"]])
        np.testing.assert_allclose(drawn_line(axes, name), expected, atol=1e-6)
    expected = np.column_stack([own["tokens"], 1.1 * own["value"]])
    np.testing.assert_allclose(drawn_line(axes, "Small (0.1 M)"), expected, atol=1e-6)


def test_the_band_reaches_from_the_lowest_to_the_highest_seed(draw, pick):
    (band,) = draw(tasks=["sva"]).axes[0].collections
    rows = pick(draw.behaviour, task="sva").query("step > 0 and model in @SEEDS")
    corners = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices}
    for end in rows.groupby("tokens")["value"].agg(["min", "max"]).items():
        assert {(float(x), round(y, 6)) for x, y in end[1].items()} <= corners


def test_there_is_no_mean_where_one_seed_has_no_circuit(draw, drawn_line, pick):
    summary = draw.summary.copy()
    lost = (summary["model"] == "small-seed1") & (summary["step"] == 33000)
    summary.loc[lost, "n_edges"] = pd.NA
    axes = draw(circuit_summary=summary, tasks=["sva"]).axes[1]
    at = summary.loc[lost, "tokens"].iloc[0]
    assert at in drawn_line(axes, "small")[:, 0]
    assert at in drawn_line(axes, "small-seed2")[:, 0]
    assert at not in drawn_line(axes, "Small (0.1 M)")[:, 0]
    whole = pick(draw.summary, model="small", task="sva").dropna(subset=["n_edges"])
    assert len(drawn_line(axes, "Small (0.1 M)")) == len(whole) - 1


def test_a_seed_that_was_analysed_at_fewer_steps_breaks_no_line_and_the_mean_has_its_steps(
    draw, drawn_line, pick
):
    few = (8000, 143000)
    table = draw.behaviour
    table = table[(table["model"] != "small-seed1") | table["step"].isin(few)]
    axes = draw(behaviour=table, tasks=["sva"]).axes[0]
    own = pick(draw.behaviour, model="small", task="sva").query("step > 0")
    for name, factor, at in (
        ("small", 1.0, own),
        ("small-seed1", 1.1, own.query("step in @few")),
        ("small-seed2", 1.2, own),
        ("Small (0.1 M)", 1.1, own.query("step in @few")),
    ):
        (line,) = (line for line in axes.lines if line.get_label() == name)
        expected = np.column_stack([at["tokens"], factor * at["value"]])
        np.testing.assert_allclose(line.get_xydata(), expected, atol=1e-6, err_msg=name)
    (band,) = axes.collections
    assert band.get_paths()[0].vertices[:, 0].max() == own["tokens"].max()


def test_only_models_with_several_seeds_are_drawn_in_their_own_colour(draw, labels):
    figure = draw(labels=dict(reversed(labels.items())), tasks=["sva"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert "Medium (0.4 M)" not in lines
    assert lines["Small (0.1 M)"].get_color() == "#009E73"
    entries = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text() != " "]
    marks = ["mean over runs", "lowest to highest run"]
    assert entries == ["Small (0.1 M), 3 runs", *NAMES.values(), *marks]


def test_the_key_tells_which_thin_line_is_which_run(draw):
    figure = draw(tasks=["sva"])
    drawn = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    key = dict(zip(texts, legend.legend_handles, strict=True))
    for run, name in NAMES.items():
        assert key[name].get_linestyle() == drawn[run]
    assert len({drawn[run] for run in SEEDS}) == 3


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in figure.axes for text in axes.texts]


def test_without_variants_the_figure_says_so(draw, labels):
    alone = {model: [model] for model in labels}
    figure = draw(variants=alone, tasks=["ioi", "sva"])
    assert words(figure) == ["no model was trained with several seeds"]
    assert figure.get_figheight() < 1
    assert not figure.legends


def test_an_empty_panel_says_why(draw):
    assert words(draw(tasks=["mine"])) == ["not analysed"] * 2
    late = draw(tasks=["sva"], min_step=200000)
    assert words(late) == ["only steps before 200000"] * 2


@pytest.mark.parametrize("n_tasks", [1, 6])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_it_can_be_printed(draw, own_tasks, long_labels, n_tasks, n_seeds, check_print):
    steps = (64, 8000, 143000)
    behaviour = make_behaviour(tasks=own_tasks[1:], steps=steps)
    summary = make_summary(tasks=own_tasks[1:], steps=steps)
    tables = {
        "behaviour": with_seeds(behaviour, "value", of="small", n_seeds=n_seeds),
        "circuit_summary": with_seeds(summary, "n_edges", of="small", n_seeds=n_seeds),
        "variants": {"small": SEEDS[:n_seeds]},
    }
    check_print(draw(labels=long_labels, tasks=own_tasks[-n_tasks:], **tables))
