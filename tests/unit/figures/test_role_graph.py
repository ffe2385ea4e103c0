"""The heat map of the role graph: which steps, which numbers, which are beyond the null."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.role_graph import role_graph_figure
from circuitlapse.schemas import ROLE_GRAPH

EDGES = {("NM", "logits", ""): -0.9, ("S2I", "NM", "q"): -0.7, ("S2I", "NM", "v"): 0.001}
LABELS = {"s": "Small", "m": "Medium"}


@pytest.fixture
def table():
    """The graph of one model at four steps, at the last of which S2I is at its null."""
    rows = [
        {"model": "s", "variant": "", "step": step, "tokens": step, "task": "ioi"}
        | {"source": source, "target": target, "port": port, "effect": effect}
        | {"effect_low": effect - 0.1, "effect_high": effect + 0.1, "null_mean": 0.0}
        | {"null_low": -0.65 if step == 8 else -0.1, "null_high": 0.1, "unit": "ratio"}
        | {"n_source": 1, "n_target": 1, "n": 50, "status": "ok"}
        for step in (1, 2, 4, 8)
        for (source, target, port), effect in EDGES.items()
    ]
    return ROLE_GRAPH.cast(pd.DataFrame(rows))


def written(axes):
    return {text.get_text(): text.get_weight() for text in axes.texts}


def test_numbers_beyond_random_heads_are_bold_and_small_ones_are_left_out(table):
    middle, last, *_ = role_graph_figure(table, labels=LABELS).axes
    assert (middle.get_title(), last.get_title()) == ("step 2", "step 8")
    assert written(middle) == {"-.90": "bold", "-.70": "bold"}
    assert written(last) == {"-.90": "bold", "-.70": "normal"}
    assert [one.get_text() for one in last.get_xticklabels()] == ["logits", "NM\nq", "NM\nv"]
    assert [one.get_text() for one in last.get_yticklabels()] == ["NM", "S2I"]


def test_an_edge_that_is_not_measured_has_no_colour(table):
    undefined = table["source"] == "S2I"
    table.loc[undefined, ["effect", "effect_low", "effect_high"]] = np.nan
    table.loc[undefined, "status"] = "no_source"
    last = role_graph_figure(table, labels=LABELS).axes[1]
    values = np.ma.filled(last.collections[0].get_array().astype(float), np.nan)
    assert np.isnan(values).tolist() == [[False, True, True], [True, True, True]]
    assert written(last) == {"-.90": "bold"}


def test_a_panel_without_a_step_says_why(table):
    def words(rows):
        panels = role_graph_figure(rows, labels=LABELS).axes[:4]
        texts = (" ".join(text.get_text() for text in axes.texts) for axes in panels)
        return [text.replace("\n", " ") for text in texts]

    once = table[table["step"] == 8]
    assert words(once)[0] == "no other step has a measured edge"
    assert words(once)[2:] == ["no such task in this run"] * 2
    for status, said in {"no_behaviour": "the model does not do the task"}.items():
        assert words(once.assign(status=status))[:2] == [said] * 2
    assert set(words(table[:0])) == {"no such task in this run"}


def test_it_can_be_printed(table, check_print):
    check_print(role_graph_figure(table, labels=LABELS))
