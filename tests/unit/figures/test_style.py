from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from circuitlapse.errors import ArtifactError
from circuitlapse.figures import style
from circuitlapse.figures.style import (
    WIDTH_IN,
    count_label,
    in_style,
    label_log,
    shorten,
    text_width,
    wrap,
)


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


def test_several_methods_in_one_table_are_refused():
    table = pd.DataFrame({"method": ["eap", "eap_ig_inputs"], "ig_steps": [1, 5]})
    with pytest.raises(
        ArtifactError, match=r"^swaps: .* found eap \(ig_steps 1\), eap_ig_inputs \(ig_steps 5\)$"
    ):
        style.of_one_method(table, "swaps")


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


WORDS = "Indirect object identification (IOI)"


def test_a_width_is_that_of_the_drawn_text():
    with in_style():
        drawn = Figure(dpi=720).text(0, 0, WORDS, fontsize=8.0).get_window_extent().width / 10
    assert text_width(WORDS, 8.0) == pytest.approx(drawn, rel=0.03)
    assert text_width(" ", 8.0) == 0


@pytest.mark.parametrize("width", [30.0, 60.0, 100.0, 500.0])
def test_no_line_is_wider_than_allowed_and_no_letter_is_lost(width):
    text = f"{WORDS} andalongwordthatfitsnowhere"
    lines = wrap(text, width, size=8.0).split("\n")
    assert all(text_width(line, 8.0) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_that_fits_stays_as_it_is():
    assert wrap(WORDS, 500.0, size=8.0) == WORDS
    assert shorten(WORDS, 500.0, size=8.0) == WORDS


def test_text_that_is_cut_ends_in_an_ellipsis():
    short = shorten(WORDS, 60.0, size=8.0)
    assert short.endswith("…")
    assert WORDS.startswith(short[:-1])
    assert text_width(short, 8.0) <= 60


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (1.0, "1"),
        (500.0, "500"),
        (20e3, "20k"),
        (1.5e6, "1.5M"),
        (3e11, "300B"),
        (2e12, "2T"),
    ],
)
def test_counts_are_written_short(value, label):
    assert count_label(value) == label


def labelled(start: float, end: float, *, n_columns: int, along: str = "x"):
    """The labels inside the axes of `n_columns` panels side by side, as drawn."""
    with in_style():
        figure = Figure(figsize=(WIDTH_IN, 2), layout="constrained")
        row = figure.subplots(1, n_columns, squeeze=False, sharex=True, sharey=True)[0]
        for axes in row:
            getattr(axes, f"set_{along}scale")("log")
            axes.plot(*([[start, end], [0, 1]] if along == "x" else [[0, 1], [start, end]]))
        label_log(getattr(row[0], f"{along}axis"))
        figure.draw_without_rendering()
        found = []
        for axes in row:
            axis = getattr(axes, f"{along}axis")
            low, high = axis.get_view_interval()
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        return figure, found


RANGES = [
    (1e6, 1e10),
    (2e5, 2e6),
    (1e6, 2e6),
    (2.5e5, 3.5e5),
    (2.5e5, 1.4e6),
    (3e4, 6e5),
    (1.3e8, 3e11),
    (0.1, 90.0),
    (1.0, 3580.0),
]


@pytest.mark.parametrize("n_columns", [1, 3, 4, 6])
@pytest.mark.parametrize(("start", "end"), RANGES)
def test_labels_never_collide_and_lie_inside_the_figure(start, end, n_columns):
    figure, texts = labelled(start, end, n_columns=n_columns)
    assert len(texts) >= n_columns
    boxes = [text.get_window_extent() for text in texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(0.5).overlaps(other), [text.get_text() for text in texts]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


@pytest.mark.parametrize(("start", "end"), RANGES)
@pytest.mark.parametrize("along", ["x", "y"])
def test_a_panel_with_room_has_at_least_two_labels(start, end, along):
    _, texts = labelled(start, end, n_columns=2, along=along)
    one_panel = texts[: len(texts) // (2 if along == "x" else 1)]
    assert len(one_panel) >= 2


def test_powers_of_ten_come_before_other_round_numbers():
    _, texts = labelled(1e6, 1e10, n_columns=1)
    assert [text.get_text() for text in texts] == ["1M", "10M", "100M", "1B", "10B"]
    _, texts = labelled(2e5, 2e6, n_columns=1)
    assert [text.get_text() for text in texts] == ["200k", "500k", "1M", "2M"]
    _, texts = labelled(1.3e8, 3e11, n_columns=6)
    assert {text.get_text() for text in texts} <= {"1B", "10B", "100B"}
