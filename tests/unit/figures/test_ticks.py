from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure

from circuitlapse.figures.style import WIDTH_IN, count_label, in_style, label_log


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
