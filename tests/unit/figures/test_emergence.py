"""Half levels of tasks and components, with their intervals."""

import pandas as pd
import pytest

from circuitlapse.figures.emergence import emergence_figure
from circuitlapse.schemas import EMERGENCE

TIMES = {("s", "ioi"): 2e5, ("m", "ioi"): 1e5, ("s", "sva"): None, ("m", "sva"): 4e5}
LABELS = {"s": "Small", "m": "Medium"}


@pytest.fixture
def table():
    rows = [
        {"model": model, "variant": "", "kind": "task", "name": name, "tokens_half": half}
        | {"tokens_half_low": half and half / 2, "tokens_half_high": half and half * 2}
        | {"level_first": 0.0, "level_last": 3.0, "rise_low": 2.0, "rise_high": 4.0, "n": 50}
        | {"unit": "logits", "n_steps": 9, "n_parameters": 10}
        | {"status": "ok" if half else "no_rise"}
        for (model, name), half in TIMES.items()
    ]
    return EMERGENCE.cast(pd.DataFrame(rows))


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_every_model_has_a_mark_and_its_interval_in_the_row_of_the_task(table):
    tasks, components = emergence_figure(table, labels=LABELS).axes
    small, medium = tasks.lines[-2:]
    assert [list(line.get_xdata()) for line in (small, medium)] == [[2e5], [1e5, 4e5]]
    spans = [path.vertices[:, 0] for bars in tasks.collections for path in bars.get_paths()]
    assert [list(span) for span in spans] == [[1e5, 4e5], [5e4, 2e5], [2e5, 8e5]]
    assert [label.get_text() for label in tasks.get_yticklabels()] == ["IOI", "SVA"]
    heights = [*small.get_ydata(), *medium.get_ydata()]
    assert heights == sorted(heights)  # all of IOI above all of SVA, small above medium
    assert texts(components) == ["no component was analysed"]


def test_a_curve_without_a_rise_is_named(table):
    tasks, _ = emergence_figure(table, labels=LABELS).axes
    assert texts(tasks) == ["no rise"]
    assert tasks.get_ylim()[0] > tasks.texts[1].get_position()[1] > 0.5
