"""The picture of the audit: a square per checkpoint and file, coloured by content."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from circuitlapse.figures import style
from circuitlapse.figures.audit import audit_figure
from circuitlapse.schemas import AUDIT

LAYOUT = {
    0: ["final", "duplicate"],
    1: ["own", "ok"],
    2: ["final", "ok"],
    3: ["", "no_weights"],
}


@pytest.fixture
def drawn():
    rows = [
        {"model": "m", "variant": "v", "step": step, "tokens": step, "file": "a", "hash": content}
        | {
            "bytes": 1,
            "unit": "bytes",
            "shared": False,
            "status": status,
            "same_as": "",
            "instead_of": "",
        }
        | {"left_out": status != "ok"}
        for step, (content, status) in LAYOUT.items()
    ]
    return audit_figure(AUDIT.cast(pd.DataFrame(rows)), run_labels={"m": "M", "other": "O"})


def test_files_of_one_content_have_one_colour_and_others_are_grey(drawn):
    (axes,) = drawn.axes
    (mesh,) = axes.collections
    first = to_rgb(style.COLOURS[0])
    grey, white = to_rgb("#d9d9d9"), to_rgb("#ffffff")
    assert np.allclose(np.asarray(mesh.get_array()).reshape(-1, 3), [first, grey, first, white])


def test_steps_that_are_no_checkpoints_of_their_own_are_marked(drawn):
    (axes,) = drawn.axes
    marks = {line.get_label(): line.get_xdata().tolist() for line in axes.lines}
    assert marks == {"weights of a later step": [0], "no weights": [3]}
    (legend,) = drawn.legends
    assert {text.get_text() for text in legend.get_texts()} >= {"no weights", "content of its own"}


def test_a_model_has_a_panel_with_its_label_and_steps(drawn):
    (axes,) = drawn.axes
    assert axes.get_title(loc="left") == "M: files with weights at 4 steps"
    assert axes.get_xticklabels()[0].get_text() == "3"
