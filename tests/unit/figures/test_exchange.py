from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.figures.exchange import swaps_figure, transfer_figure, transfer_tasks_figure
from circuitlapse.types import HeadSet
from tests.unit.figures.conftest import make_summary
from tests.unit.figures.training_tables import make_transfer

STEPS = (0, 64, 512, 4000, 33000, 143000)


@pytest.fixture
def table() -> pd.DataFrame:
    return make_transfer(make_summary(steps=STEPS))


@pytest.fixture
def draw(table, labels, tasks):
    def figure(of=transfer_figure, **changes: object):
        tables = {"transfer": table, "labels": labels, "tasks": tasks, "threshold": 0.8}
        steps = {"min_step": 1} if of is transfer_figure else {}
        return of(**tables | steps | changes)

    return figure


def panel(figure, row: int, column: int):
    (found,) = [
        axes
        for axes in figure.axes
        if (spec := axes.get_subplotspec()) is not None
        and (spec.rowspan.start, spec.colspan.start) == (row, column)
    ]
    return found


def values(axes) -> np.ndarray:
    """What is drawn, the lowest row first."""
    (mesh,) = axes.collections
    return mesh.get_array().filled(np.nan)


def hatched(axes, reason: str) -> set[tuple[int, int]]:
    """The cells (row, column) whose middle lies in the area hatched for a reason."""
    n_rows, n_columns = values(axes).shape
    areas = [patch.get_path() for patch in axes.patches if patch.get_label() == reason]
    return {
        (row, column)
        for row in range(n_rows)
        for column in range(n_columns)
        if any(area.contains_point((column, row)) for area in areas)
    }


def test_a_row_is_the_step_of_the_circuit_and_a_column_that_of_the_model(
    draw, table, labels, tasks, pick
):
    figure = draw()
    for row, model in enumerate(labels):
        for column, task in enumerate(tasks):
            found = values(panel(figure, row, column))
            rows = pick(table, model=model, task=task, circuit_task=task)
            assert found.shape == (len(STEPS) - 1, len(STEPS) - 1)
            for circuit_step, step, f_raw in zip(
                rows["circuit_step"], rows["step"], rows["f_raw"], strict=True
            ):
                if min(circuit_step, step) > 0:
                    at = STEPS.index(circuit_step) - 1, STEPS.index(step) - 1
                    np.testing.assert_equal(found[at], f_raw)


def test_a_square_without_a_value_is_hatched_for_its_reason(draw, table, labels, tasks):
    table = table[~((table["circuit_step"] == 33000) & (table["step"] == 143000))].copy()
    odd = (table["circuit_step"] == 4000) & (table["step"] == 33000)
    table.loc[odd, ["f_raw", "status"]] = (np.nan, "something new")
    axes = panel(draw(transfer=table), list(labels).index("large"), tasks.index("sva"))
    rows = table.query("model == 'large' and task == 'sva' and circuit_task == 'sva'")
    for reason, status in (("no_circuit",) * 2, ("no_behaviour",) * 2, ("other", "something new")):
        of = rows[rows["status"] == status].query("step > 0 and circuit_step > 0")
        expected = {
            (STEPS.index(found) - 1, STEPS.index(run) - 1)
            for found, run in zip(of["circuit_step"], of["step"], strict=True)
        }
        assert expected
        assert hatched(axes, reason) == expected
    assert hatched(axes, "absent") == {(3, 4)}


def test_the_legend_lists_only_the_reasons_that_occur(draw, table):
    def entries(rows):
        found = draw(transfer=rows).legends
        return [text.get_text() for legend in found for text in legend.get_texts()]

    late = table[(table["step"] >= 33000) & (table["circuit_step"] >= 33000)]
    line = "at least 0.8"
    assert entries(late) == [line]
    assert entries(late.assign(f_raw=0.5)) == []
    assert entries(table) == [line, "no circuit was found", "the model does not do the task"]
    assert entries(late[~((late["step"] == 33000) & (late["circuit_step"] == 143000))]) == [
        line,
        "not measured",
    ]


def test_a_line_parts_cells_that_reach_the_threshold_from_others(draw, table, labels, tasks):
    axes = panel(draw(threshold=0.8), list(labels).index("large"), tasks.index("sva"))
    (border,) = [patch for patch in axes.patches if patch.get_label() == "_faithful"]
    drawn = {
        tuple(sorted(map(tuple, line.tolist())))
        for line in border.get_path().to_polygons(closed_only=False)
    }
    found, expected = values(axes), set()
    n_rows, n_columns = found.shape

    def reaches(row, column):
        inside = 0 <= row < n_rows and 0 <= column < n_columns
        return inside and bool(found[row, column] >= 0.8)

    for row in range(-1, n_rows):
        for column in range(-1, n_columns):
            if reaches(row, column) != reaches(row, column + 1):
                expected.add(((column + 0.5, row - 0.5), (column + 0.5, row + 0.5)))
            if reaches(row, column) != reaches(row + 1, column):
                expected.add(((column - 0.5, row + 0.5), (column + 0.5, row + 0.5)))
    assert drawn == expected


def test_squares_in_which_a_control_is_as_good_are_marked(draw, table):
    """A dot for random circuits of the same size, at any step; a ring for another seed."""
    one = table.query("model == 'large' and task == 'sva' and circuit_task == 'sva'")
    here = one.query("circuit_step == 4000 and step == 33000")
    random = one.assign(control="random", draw=0, f_raw=0.1, status="ok")
    random.loc[here.index, "f_raw"] = 0.9
    other = one.query("circuit_step == step").assign(control="seed", circuit_model="seed2")
    other["f_raw"] = np.where(other["step"] == 143000, 0.85, -0.5)
    figure = draw(
        transfer=pd.concat([table, random, other]), labels={"large": "Large"}, tasks=["sva"]
    )
    marks = {line.get_label(): line for line in figure.axes[0].lines}
    assert marks["_random"].get_xydata().tolist() == [[3, 2]]
    assert marks["_seed"].get_xydata().tolist() == [[4, 4]]
    entries = {" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()}
    assert {
        "a random circuit of this size reaches 0.8 (best: 0.90)",
        "the circuit of another seed reaches 0.8 (best: 0.85)",
    } <= entries


def test_a_control_that_reaches_the_threshold_nowhere_says_so(draw, table):
    one = table.query("model == 'large' and task == 'sva' and circuit_task == 'sva'")
    random = one.assign(control="random", draw=0, f_raw=0.78, status="ok")
    figure = draw(transfer=pd.concat([table, random]), labels={"large": "Large"}, tasks=["sva"])
    entries = {" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()}
    assert "a random circuit of this size reaches 0.8 (nowhere; best: 0.78)" in entries


def test_the_colour_bar_has_a_line_at_the_threshold(draw):
    bar = draw(threshold=0.7).axes[-1]
    assert bar.get_ylabel() == "Faithfulness (circuit / model)"
    assert 0.7 in bar.get_yticks()
    assert any(list(line.get_ydata()) == [0.7, 0.7] for line in bar.lines)


def test_steps_label_rows_and_columns_and_the_last_is_always_there(draw):
    figure = draw()
    figure.draw_without_rendering()
    axes = panel(figure, 0, 0)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert ticks[0].get_text() == "143k"
        assert {text.get_text() for text in ticks} <= {"64", "512", "4k", "33k", "143k"}
    assert axes.get_xticks()[0] == axes.get_yticks()[0] == 4


def test_tasks_are_compared_at_the_last_step_of_each_model(draw, table, labels, tasks, pick):
    small = table["model"] == "small"
    shorter = table[~small | (table[["step", "circuit_step"]].max(axis=1) < 143000)]
    figure = draw(transfer_tasks_figure, transfer=shorter)
    assert panel(figure, 0, 0).get_title().startswith("Small (0.1 M), step 33000")
    found = values(panel(figure, 0, list(labels).index("large")))[::-1]
    rows = pick(table, model="large", step=143000, circuit_step=143000)
    expected = rows.pivot(index="circuit_task", columns="task", values="f_raw")
    np.testing.assert_array_equal(found, expected.loc[list(tasks), list(tasks)])
    figure.draw_without_rendering()
    axes = panel(figure, 0, 2)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["SVA", "GT", "GP", "IOI"]


def test_the_squares_of_tasks_say_their_value(draw, table, pick):
    axes = panel(draw(transfer_tasks_figure), 0, 2)
    row = pick(table, model="large", step=143000, circuit_step=143000)
    row = pick(row, circuit_task="ioi", task="sva")
    at = {text.get_position(): text.get_text() for text in axes.texts}
    assert at[3, 3] == f"{row['f_raw'].iloc[0]:.2f}"


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for axes in figure.axes for text in axes.texts]


def test_an_empty_panel_says_why(draw, table):
    assert words(draw(tasks=["ioi", "mine"])) == ["not analysed"] * 3
    assert words(draw(tasks=["ioi"], min_step=200000)) == ["only steps before 200000"] * 3
    for of in (transfer_figure, transfer_tasks_figure):
        assert words(draw(of, transfer=table[:0], tasks=["ioi"])) == ["not analysed"] * 3


def test_two_methods_are_refused(draw, table):
    table.loc[0, "ig_steps"] = 30
    for of in (transfer_figure, transfer_tasks_figure):
        with pytest.raises(ArtifactError, match=r"^transfer: expected circuits of one method"):
            draw(of, transfer=table)


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
@pytest.mark.parametrize("of", [transfer_figure, transfer_tasks_figure])
def test_it_can_be_printed(draw, own_tasks, long_labels, of, n_tasks, check_print):
    table = make_transfer(make_summary(tasks=own_tasks[1:], steps=STEPS))
    check_print(draw(of, transfer=table, labels=long_labels, tasks=own_tasks[-n_tasks:]))


def test_a_single_model_and_step_can_be_printed(draw, table, check_print):
    one = {"labels": {"small": "Small"}, "tasks": ["sva"]}
    check_print(draw(transfer=table[table["step"] == 33000], **one))


SWAPPED = {"a": "Small", "b": "Large"}


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
    figure = swaps_figure(make_swaps(), labels=SWAPPED, tasks=["ioi", "greater_than"])
    axes = figure.axes[0]
    baseline, swapped, random = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(baseline, [[0, 0], [1, 0.5], [2, 1]])
    np.testing.assert_allclose(swapped, [[0, 2], [1, 2.5], [2, 3]])
    np.testing.assert_allclose(random, [[0, 0.5], [1, 1], [2, 1.5]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "5", "0"]
    assert [text.get_text() for text in axes.texts] == ["heads of step 40"]
    assert "n = 70" in axes.get_title()
    assert [text.get_text() for text in figure.axes[1].texts] == ["not swapped"]


def test_bars_are_intervals_of_the_difference_and_the_shade_holds_all_draws():
    figure = swaps_figure(make_swaps(), labels={"a": "Small"}, tasks=["ioi"])
    bars, shade = figure.axes[0].collections
    found = [segment.tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(
        found, [[[0, 1.75], [0, 2.5]], [[1, 2.25], [1, 3]], [[2, 2.75], [2, 3.5]]]
    )
    low, high = shade.get_paths()[0].get_extents().get_points()
    np.testing.assert_allclose([low, high], [[0, 0], [2, 2.5]])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"bootstrap interval", "lowest to highest draw"} <= set(named)


def test_without_a_control_the_key_has_none():
    table = make_swaps().query("head_set == 'name_movers'")
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    named = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "random" not in named
    assert "draw" not in named


def test_the_key_has_no_shade_where_each_control_has_one_draw():
    table = make_swaps()
    table["lowest_draw"] = table["highest_draw"]
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert "as many random heads" in named
    assert "lowest to highest draw" not in named


def test_a_set_without_heads_says_so():
    table = make_swaps().assign(swapped=np.nan)
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["no such heads"]


def test_the_key_names_only_sets_that_were_swapped():
    absent = make_swaps().assign(head_set="s2i", swapped=np.nan)
    table = pd.concat([make_swaps(), absent])
    figure = swaps_figure(table, labels={"a": "Small"}, tasks=["ioi"])
    named = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "name movers" in named
    assert "S-inhibition" not in named


def test_the_key_names_sets_in_the_words_of_their_roles():
    frames = [make_swaps().iloc[:3].assign(head_set=name) for name in HeadSet]
    figure = swaps_figure(pd.concat(frames), labels={"a": "Small"}, tasks=["ioi"])
    named = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert {
        "name movers and copy suppression",
        "S-inhibition",
        "induction and duplicate token",
    } <= set(named)
    assert not any("_" in name or "cs" in name.split() for name in named)
