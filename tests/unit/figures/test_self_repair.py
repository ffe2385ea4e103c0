"""The repaired share of the direct effect of each role, its interval, and the null."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.self_repair import self_repair_figure
from circuitlapse.schemas import SELF_REPAIR
from circuitlapse.types import ROLE_TITLES

LABELS = {"s": "Small", "m": "Medium"}
REPAIRED = {1: 0.2, 2: 0.4, 4: -7.0, 8: 0.6}


@pytest.fixture
def table():
    """Name movers whose effect is repaired more and more, but for one step."""
    rows = [
        {"model": model, "variant": "", "step": step, "tokens": 100 * step, "task": "ioi"}
        | dict.fromkeys(("direct", "direct_low", "direct_high"), -0.5)
        | dict.fromkeys(("total", "total_low", "total_high"), -0.3)
        | {"repaired": share, "repaired_low": share - 0.1, "repaired_high": share + 0.1}
        | {"null_repaired_mean": 0.05 if model == "s" else np.nan, "null_repaired_low": 0.0}
        | {"null_repaired_high": 0.1, "role": "NM", "unit": "ratio", "n_heads": 2, "n": 50}
        | {"status": "ok"}
        for model in LABELS
        for step, share in REPAIRED.items()
    ]
    known = pd.DataFrame(rows)
    nobody = known.assign(role="Ind", repaired=np.nan, status="no_heads")
    return SELF_REPAIR.cast(pd.concat([known, nobody]))


def draw(table, **given):
    figure = self_repair_figure(table, labels=LABELS, **{"min_step": 1} | given)
    return dict(zip(map(str, ROLE_TITLES), figure.axes, strict=False)), figure


def words(axes):
    return [text.get_text().replace("\n", " ") for text in axes.texts]


def test_shares_beyond_the_axis_are_marked_at_its_edge(table):
    panels, figure = draw(table)
    lines = {}
    for line in panels["NM"].lines:
        lines.setdefault(line.get_label(), []).append(list(line.get_ydata()))
    assert lines["Small"] == lines["Medium"] == [[0.2, 0.4, -1.0, 0.6]]
    assert lines["_random"] == [[0.05] * 4]  # the other model has no null
    assert lines["_beyond"] == [[-1.0]] * 2
    assert words(panels["NM"]) == ["n = 50"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"random heads of the same layers", "beyond the axis"} <= set(texts)


def test_a_panel_without_shares_says_why(table):
    panels, _ = draw(table)
    assert words(panels["Ind"]) == ["no head has the role"]
    assert words(panels["CS"]) == ["no such task in this run"]
    assert words(draw(table, min_step=100)[0]["NM"]) == ["only steps before 100"]
    none = table.assign(repaired=np.nan)
    assert words(draw(none.assign(status="no_effect"))[0]["NM"]) == [
        "no direct effect on the logits"
    ]


def test_it_can_be_printed(table, check_print):
    check_print(draw(table)[1])
