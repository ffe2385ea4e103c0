from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.ioi_components import ioi_components_figure
from tests.unit.figures.head_tables import make_components, make_s2i

STEPS = (0, 64, 512, 4000, 33000, 143000)
LAST = 143000
ONE = {"medium": "Medium"}


@pytest.fixture(scope="module")
def table():
    return make_components(steps=STEPS, sizes={"medium": (4, 4)})


@pytest.fixture(scope="module")
def s2i(table):
    return make_s2i(table)


def panels(table, s2i) -> list:
    return ioi_components_figure(table, s2i=s2i, labels=ONE, ioi_task="ioi", min_step=1).axes


@pytest.fixture(scope="module")
def whole(table, s2i):
    """The panels of the whole tables; for tests that only look at them."""
    return panels(table, s2i)


def lines_of(axes) -> dict[str, np.ndarray]:
    lines = [line for line in axes.lines if line.get_label().startswith("a")]
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in lines}


def named(rows: pd.DataFrame) -> pd.Series:
    return "a" + rows["layer"].astype(str) + ".h" + rows["head"].astype(str)


def of(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """[step, head] of a score."""
    rows = table[(table["score"] == score) & (table["step"] > 0)]
    return rows.assign(name=named(rows)).pivot(index="step", columns="name", values="value")


@pytest.mark.parametrize(("column", "score", "scale"), [(0, "copy", 0.01), (1, "attn_io", 1.0)])
def test_the_highest_heads_of_the_last_circuit_are_drawn(whole, table, column, score, scale):
    rows = table[(table["score"] == score) & (table["step"] == LAST) & table["in_circuit"]]
    expected = named(rows.sort_values("value", ascending=False))[:6]
    drawn = lines_of(whole[column])
    assert list(drawn) == list(expected)
    for name, line in drawn.items():
        np.testing.assert_allclose(line, scale * of(table, score)[name], rtol=1e-6)


def test_the_ratio_has_the_heads_of_attention_to_io_on_a_logarithmic_axis(whole, table):
    _, io, ratio, *_ = whole
    assert ratio.get_yscale() == "log"
    assert list(lines_of(ratio)) == list(lines_of(io))
    expected = of(table, "attn_io") / of(table, "attn_s1")
    for name, line in lines_of(ratio).items():
        np.testing.assert_allclose(line, expected[name], rtol=1e-5)


def test_a_ratio_without_attention_to_s1_is_not_drawn(table, s2i):
    rows = table.assign(value=table["value"].where(table["score"] != "attn_s1", 0.0))
    axes = panels(rows, s2i)[2]
    assert not lines_of(axes)
    assert axes.texts


@pytest.mark.parametrize(("first", "flip"), [(4, "same_opposite"), (8, "opposite_same")])
def test_a_lower_row_is_one_flip_of_the_heads_that_matter_most(whole, s2i, first, flip):
    telling = s2i[s2i["flip"] == flip]
    order = telling[telling["step"] == LAST].sort_values("d_logit_diff")
    for axes, change in zip(
        whole[first : first + 4],
        ("d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2"),
        strict=True,
    ):
        drawn = lines_of(axes)
        assert list(drawn) == list(named(order)[:6])
        for name, line in drawn.items():
            own = telling[named(telling) == name].set_index("step")[change]
            expected = own.reindex([step for step in STEPS if step > 0])
            np.testing.assert_array_equal(line, expected)


def test_rows_of_changes_say_which_signal_is_flipped(whole):
    position, token = (whole[first].get_ylabel().splitlines() for first in (4, 8))
    assert position == ["Medium", "change: position", "signal flipped"]
    assert token == ["Medium", "change: token", "signal flipped"]


def test_attention_changes_share_their_range_with_the_control(whole):
    for _, io, s1, s2 in (whole[4:8], whole[8:]):
        assert io.get_ylim() == s1.get_ylim() == s2.get_ylim()


@pytest.mark.parametrize(
    ("change", "low", "high"), [(-1.8, -2.0, 0.2), (-0.001, -0.051, 0.05)], ids=["large", "small"]
)
def test_a_change_is_inside_its_panel_and_a_tiny_one_does_not_fill_it(
    table, s2i, change, low, high
):
    """Also if there is only one: 0 is in the panel, too."""
    last = s2i[s2i["step"] == LAST].groupby("flip").head(1)
    one = last.assign(**dict.fromkeys(("d_logit_diff", "d_attn_io"), np.float64(change)))
    axes = panels(table, one)[4]
    bottom, top = axes.get_ylim()
    assert low < bottom < change
    assert 0 < top < high
    assert top - bottom > 0.05


def words(axes) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in axes.texts)


def test_empty_panels_say_why(table, s2i):
    assert {words(axes) for axes in panels(table, s2i[:0])[4:]} == {"no name movers"}
    heard = table[table["score"] == "attn_io"].assign(score="e_nm_q", value=np.float32(-0.1))
    movers = pd.concat([table, heard[heard["step"] == 512]])
    found = {words(axes) for axes in panels(movers, s2i[:0])[4:]}
    assert found == {"no circuit head feeds name movers"}
    none = table.assign(in_circuit=pd.array([pd.NA] * len(table), "boolean"))
    assert {words(axes) for axes in panels(none, s2i)} == {"no circuit"}
    assert {words(axes) for axes in panels(table[:0], s2i[:0])} == {"not analysed"}
    other = s2i.assign(task="another_task")
    assert {words(axes) for axes in panels(table, other)[4:]} == {"no name movers"}
    outside = table.assign(in_circuit=table["in_circuit"] & (table["layer"] == 3))
    assert {words(axes) for axes in panels(outside, s2i)[4:]} == {
        "no circuit contains a tested head"
    }


def test_without_an_ioi_task_every_panel_says_so(table, s2i):
    figure = ioi_components_figure(table, s2i=s2i, labels=ONE, ioi_task=None, min_step=1)
    assert {words(axes) for axes in figure.axes} == {"no such task in this run"}


def test_a_row_of_empty_panels_is_lower(table, s2i):
    def height(changes):
        return ioi_components_figure(
            table, s2i=changes, labels=ONE, ioi_task="ioi", min_step=1
        ).get_figheight()

    n_heads = len(panels(table, s2i)[4].get_legend().get_texts())
    keys = 0.1 + 0.135 * -(-n_heads // 2)  # below a lower row, two in a line
    assert height(s2i) - height(s2i[:0]) == pytest.approx(2 * (1.15 - 0.8 + keys))


def test_three_rows_per_model_can_be_printed(table, s2i, check_print):
    labels = {"medium": "Medium (0.4 M), deduplicated text", "absent": "Absent"}
    check_print(ioi_components_figure(table, s2i=s2i, labels=labels, ioi_task="ioi", min_step=1))


def test_a_single_step_can_be_printed(table, s2i, check_print):
    rows = table[table["step"] == 4000]
    check_print(ioi_components_figure(rows, s2i=s2i, labels=ONE, ioi_task="ioi", min_step=1))
