"""Shares of circuits that pass."""

import numpy as np
import pytest

from circuitlapse.figures.certificates import PANELS, certificates_figure
from tests.unit.figures.conftest import LABELS, make_summary

TASKS = ["ioi", "sva"]
DRAWN = {"labels": LABELS, "tasks": TASKS, "min_step": 1}


@pytest.fixture
def summary():
    """Half of the circuits of a model pass, and a quarter of the edges is not needed."""
    table = make_summary(tasks=TASKS)
    known = table["certificate_status"] == "ok"
    half = np.where(np.arange(len(table)) % 2, 0.5, 0.01)
    q = {f"q_{test}": half for test in ("equivalence", "independence", "minimality")}
    table = table.assign(**q, edges_tested=4, edges_needed=3)
    return table[known].groupby(["model", "task"], sort=False).head(4)


def shares(axes):
    return {value for line in axes.lines[-len(LABELS) :] for value in line.get_xdata()}


def test_a_mark_is_the_share_of_the_circuits_that_pass(summary):
    figure = certificates_figure(summary, **DRAWN)
    figure.draw_without_rendering()
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == list(PANELS)
    for axes, expected in zip(panels, (50, 50, 50, 75), strict=True):
        assert shares(axes) == {expected}
    equal = certificates_figure(summary.assign(q_equivalence=0.5), **DRAWN).axes[0]
    assert shares(equal) == {100}
    knows = certificates_figure(summary.assign(q_independence=0.01), **DRAWN).axes[1]
    assert shares(knows) == {0}


def test_circuits_without_certificates_do_not_count(summary):
    late = summary["step"] > summary["step"].min()
    gone = {"certificate_status": "off", "q_equivalence": np.nan}
    table = summary.assign(**{k: summary[k].where(~late, v) for k, v in gone.items()})
    (mark, *_) = certificates_figure(table, **DRAWN).axes[0].lines[-len(LABELS) :]
    assert set(mark.get_xdata()) <= {0, 100}
    nothing = certificates_figure(summary.assign(certificate_status="off"), **DRAWN)
    assert nothing.axes[0].texts[0].get_text() == "no circuit was tested"
