from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.tables.head_choice import (
    Head,
    best_at_each_step,
    count_above,
    ever_best,
    first_to_rise,
    largest_in_circuit,
    most_often_in_circuit,
    of_heads,
    within_range,
)

NAN = float("nan")
STEPS = (1, 10, 100)


def table(
    values: dict[tuple[int, int], tuple[float, ...]],
    inside: dict[tuple[int, int], tuple[object, ...]] | None = None,
) -> pd.DataFrame:
    """Rows of one model and score: a value per head and step; by default all are in circuits."""
    rows = [
        {"step": step, "tokens": 2 * step, "layer": layer, "head": head, "value": value}
        | {"in_circuit": True if inside is None else inside.get((layer, head), [False] * 3)[at]}
        for (layer, head), curve in values.items()
        for at, (step, value) in enumerate(zip(STEPS, curve, strict=True))
    ]
    return pd.DataFrame(rows).astype({"in_circuit": "boolean", "layer": "int16", "head": "int16"})


def test_a_head_is_named_as_a_node():
    assert Head(5, 1).name == "a5.h1"


def test_the_first_to_reach_the_level_is_chosen_and_not_the_highest():
    rows = table({(0, 0): (0.0, 0.1, 0.9), (1, 0): (0.0, 0.3, 0.3), (1, 1): (0.0, 0.29, 0.8)})
    assert first_to_rise(rows, share=0.33) == Head(1, 0)


def test_a_head_below_the_level_at_all_steps_is_never_chosen():
    rows = table({(0, 0): (0.2, 0.29, 0.29), (3, 2): (0.0, 0.0, 0.9)})
    assert first_to_rise(rows, share=0.33) == Head(3, 2)


def test_a_head_outside_all_circuits_sets_the_level_but_is_not_chosen():
    values = {(0, 0): (0.9, 0.9, 0.9), (1, 0): (0.2, 0.2, 0.2), (2, 0): (0.0, 0.0, 0.3)}
    inside = {(1, 0): (True, True, True), (2, 0): (True, False, False)}
    assert first_to_rise(table(values, inside), share=0.33) == Head(2, 0)


def test_a_missing_circuit_is_no_circuit():
    rows = table({(0, 0): (0.1, 0.5, 0.9)}, {(0, 0): (pd.NA, pd.NA, pd.NA)})
    assert first_to_rise(rows, share=0.33) is None
    assert most_often_in_circuit(rows, share=0.25, limit=5) == []
    assert largest_in_circuit(rows, limit=5) == []


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({(0, 0): (0.0, 0.5, 0.6), (2, 1): (0.0, 0.4, 0.7)}, Head(2, 1)),
        ({(1, 1): (0.0, 0.5, 0.5), (0, 3): (0.0, 0.5, 0.5)}, Head(0, 3)),
        ({(1, 1): (0.0, 0.5, 0.5), (1, 0): (0.0, 0.4, 0.5)}, Head(1, 0)),
    ],
    ids=["higher maximum", "lower layer", "lower head"],
)
def test_ties_at_a_step_go_to_the_higher_maximum_then_to_the_lower_place(values, chosen):
    assert first_to_rise(table(values), share=0.33) == chosen


def test_without_a_score_above_zero_no_head_is_chosen():
    for curve in ((NAN, NAN, NAN), (-1.0, 0.0, 0.0)):
        rows = table({(0, 0): curve})
        assert first_to_rise(rows, share=0.33) is None
        assert most_often_in_circuit(rows, share=0.25, limit=5) == []


def test_values_outside_the_range_become_zero_and_undefined_ones_stay():
    rows = table({(0, 0): (-0.4, 1.1, NAN), (0, 1): (0.0, 1.0, 0.3)})
    expected = [0.0, 0.0, NAN, 0.0, 1.0, 0.3]
    np.testing.assert_array_equal(within_range(rows, 0.0, 1.0)["value"], expected)


def test_heads_are_ordered_by_how_often_they_are_in_a_circuit_then_by_maximum():
    values = {
        (0, 0): (0.0, 0.0, 1.0),
        (0, 1): (0.25, 0.0, 0.0),
        (1, 0): (0.0, 0.6, 0.0),
        (1, 1): (0.24, 0.24, 0.24),
        (2, 0): (0.9, 0.9, 0.9),
    }
    once, often, always = (False, False, True), (True, True, False), (True, True, True)
    inside = {(0, 0): once, (0, 1): often, (1, 0): often, (1, 1): always}
    found = most_often_in_circuit(table(values, inside), share=0.25, limit=5)
    assert found == [Head(1, 0), Head(0, 1), Head(0, 0)]
    assert most_often_in_circuit(table(values, inside), share=0.25, limit=2) == found[:2]
    assert Head(0, 1) not in most_often_in_circuit(table(values, inside), share=0.4, limit=5)


def test_every_head_that_leads_at_some_step_is_found_once_in_order():
    values = {(0, 0): (0.1, 0.9, 0.1), (0, 1): (0.3, NAN, 0.8), (2, 2): (0.2, 0.8, 0.7)}
    assert ever_best(table(values)) == [Head(0, 1), Head(0, 0)]
    assert ever_best(table({(1, 0): (0.5, NAN, 0.2), (0, 3): (0.5, NAN, 0.1)})) == [
        Head(0, 3),
        Head(1, 0),
    ]
    assert ever_best(table({(0, 0): (NAN, NAN, NAN)})) == []


def test_the_largest_heads_of_the_last_circuit_are_found():
    values = {(0, 0): (9.0, 0.2, 9.0), (1, 0): (9.0, 0.5, 9.0), (1, 1): (0.0, 0.7, 9.0)}
    inside = {
        (0, 0): (True, True, pd.NA),
        (1, 0): (True, True, pd.NA),
        (1, 1): (True, False, pd.NA),
    }
    rows = table(values, inside)
    assert largest_in_circuit(rows, limit=6) == [Head(1, 0), Head(0, 0)]
    assert largest_in_circuit(rows, limit=1) == [Head(1, 0)]


def test_a_step_at_which_no_circuit_head_has_a_score_is_not_the_last_one():
    rows = table({(0, 0): (0.1, 0.2, NAN), (1, 0): (0.3, NAN, NAN)})
    assert largest_in_circuit(rows, limit=6) == [Head(0, 0)]


def test_the_best_head_is_chosen_anew_at_each_step():
    found = best_at_each_step(table({(0, 0): (0.1, NAN, 0.3), (0, 1): (0.0, NAN, 0.4)}))
    assert found[["step", "tokens"]].to_numpy().tolist() == [[1, 2], [10, 20], [100, 200]]
    np.testing.assert_array_equal(found["value"], [0.1, NAN, 0.4])


def test_only_heads_strictly_above_the_level_are_counted():
    rows = table({(0, 0): (0.5, 0.5, NAN), (0, 1): (0.4, 0.6, NAN), (0, 2): (NAN, 0.1, NAN)})
    found = count_above(rows, threshold=0.4)
    np.testing.assert_array_equal(found["value"], [1, 2, NAN])
    assert list(found["tokens"]) == [2, 20, 200]


def test_a_head_has_a_row_for_every_step_of_its_model():
    rows = table({(0, 0): (0.1, 0.2, 0.3), (0, 1): (0.4, 0.5, 0.6)})
    rows = rows[~((rows["head"] == 1) & (rows["step"] == 10))].sample(frac=1, random_state=0)
    line = of_heads(rows, [Head(0, 1)])[Head(0, 1)]
    assert list(line["step"]) == [1, 10, 100]
    np.testing.assert_array_equal(line["value"], [0.4, NAN, 0.6])
