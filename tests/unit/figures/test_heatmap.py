from __future__ import annotations

import numpy as np
import pandas as pd

from circuitlapse.figures.heatmap import cells, faithfulness_colours


def test_a_cell_has_a_value_or_the_reason_why_it_has_none():
    table = pd.DataFrame(
        [("a", 1, 0.5, "ok"), ("a", 2, np.nan, "no_circuit"), ("b", 2, np.nan, "odd")],
        columns=["row", "column", "f_raw", "status"],
    )
    found = cells(table, rows=["b", "a"], columns=[1, 2])
    np.testing.assert_array_equal(found.values, [[np.nan, np.nan], [0.5, np.nan]])
    assert found.reasons.tolist() == [["absent", "other"], ["", "no_circuit"]]


def test_the_colour_is_blue_below_the_threshold_and_orange_above_without_a_jump():
    colours = faithfulness_colours(0.8)
    (red, _, blue, _), (orange, _, little, _) = colours.to_rgba([0.3, 1.1])
    assert blue > 1.2 * red
    assert orange > little + 0.2
    below, above = np.array(colours.to_rgba([0.798, 0.802]))
    assert np.abs(below - above).max() < 0.02
    scale = np.array(colours.to_rgba(np.linspace(0, 1.2, 481)))
    assert np.abs(np.diff(scale, axis=0)).max() < 0.02
    grey, brown = colours.to_rgba([-0.01, 1.21])
    assert grey[0] == grey[1] == grey[2]
    assert tuple(colours.to_rgba(1.2)) != tuple(brown)
    np.testing.assert_array_equal(colours.to_rgba(5.0), brown)
