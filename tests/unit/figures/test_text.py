from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from circuitlapse.figures.style import in_style, shorten, text_width, wrap

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
