from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from circuitlapse.figures import style
from circuitlapse.figures.lines import draw_line, limits_of, looks_of, markers_at
from circuitlapse.tables.head_choice import Head


def test_a_short_line_has_a_marker_at_every_known_point():
    values = np.array([1.0, np.nan, 2.0, 3.0])
    assert markers_at(np.array([1.0, 2.0, 3.0, 4.0]), values, most=3) == [0, 2, 3]


def test_a_long_line_has_few_markers_at_similar_distances():
    tokens = np.concatenate([2.0 ** np.arange(10), np.arange(1000.0, 144000.0, 1000.0)])
    at = markers_at(tokens, np.ones(len(tokens)), most=12)
    assert at[0] == 0
    assert at[-1] == len(tokens) - 1
    assert 8 <= len(at) <= 12
    assert np.diff(np.log(tokens[at])).min() > np.log(tokens[-1]) / 11 / 3


def test_a_point_without_neighbours_keeps_its_marker():
    values = np.full(40, 1.0)
    values[[19, 21]] = np.nan
    assert 20 in markers_at(np.arange(1.0, 41.0), values, most=3)
    assert not {19, 21} & set(markers_at(np.arange(1.0, 41.0), values, most=3))


def test_a_line_without_a_known_value_has_no_markers():
    assert markers_at(np.array([1.0, 2.0]), np.array([np.nan, np.nan])) == []
    axes = Figure().subplots()
    line = pd.DataFrame({"tokens": [1.0], "value": [np.nan]})
    draw_line(axes, line, look=style.Look("a", "black", "o"))


def test_heads_of_a_panel_differ_in_colour_and_all_heads_of_a_model_in_look():
    first, second = ([Head(layer, head) for head in range(7)] for layer in (0, 1))
    third = [*first[:3], *second[:3]]
    looks = looks_of([first, second, third])
    assert len(set(looks.values())) == len(looks) == 14
    for panel in (first, second):
        assert len({looks[head].colour for head in panel}) == 7
    assert len({(look.colour, look.marker) for look in looks.values()}) == 14
    assert looks[Head(1, 4)].label == "a1.h4"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, np.nan, 1.0], (-0.03 * 1.08, 1.08)),
        ([-0.1, 1.0], (-0.108, 1.08)),
        ([-9.0, 1.0], (-0.54, 1.08)),
        ([1e-6], (-0.03 * 0.054, 0.054)),
        ([], (-0.03 * 0.054, 0.054)),
    ],
    ids=["from zero", "below zero", "far below zero", "tiny", "none"],
)
def test_the_range_reaches_from_zero_or_below_to_above_the_largest(values, expected):
    assert limits_of(values) == pytest.approx(expected)
