import numpy as np
import pandas as pd
import pytest

from circuitlapse.tables.claims.evidence_in_circuits import (
    complement_does_nothing,
    faithful_circuits,
    larger_circuits,
    small_circuits,
    stabler_circuits,
)
from tests.unit.tables.claims_given import AT_MOST, N_DRAWS, given, rows_of

MODELS = tuple("abcdefg")
TASKS = [f"t{draw}" for draw in range(N_DRAWS)]


def circuits(values, *, task="ioi") -> pd.DataFrame:
    """Held-out faithfulness at several steps of every model."""
    rows = [
        {"model": model, "task": task, "step": step, "status": "ok", "f_raw_held_out": value}
        | {"faithfulness": "raw"}
        for model, of_model in zip(MODELS, values, strict=False)
        for step, value in enumerate(of_model, start=1)
    ]
    rows.append({"model": "a", "task": task, "step": 0, "status": "ok", "f_raw_held_out": -9.0})
    rows.append({"model": "a", "task": task, "step": 9, "status": "no_behaviour"})
    return rows_of("circuit_summary", rows)


def faithful(values):
    (one,) = faithful_circuits(given(models=MODELS, circuit_summary=circuits(values)))
    return one


def test_models_at_the_threshold_are_called_faithful_or_not_at_the_nominal_rate():
    """Steps of one model share their noise; models are what is independent."""
    generator, tables = np.random.default_rng(0), []
    for task in TASKS:
        of_model = generator.normal(0.8, 0.05, (5, 1))
        tables.append(circuits(of_model + generator.normal(0, 0.01, (5, 4)), task=task))
    how = {"models": MODELS, "tasks": TASKS, "circuit_summary": pd.concat(tables)}
    found = [*faithful_circuits(given(**how))]
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST
    assert np.mean([one.p_against <= 0.05 for one in found]) == 0  # the margin is 0.1
    assert np.mean([one.low <= 0.8 <= one.high for one in found]) >= 1 - AT_MOST


def test_clear_cases_are_found_with_five_models():
    values = np.random.default_rng(1).normal(0, 0.02, (5, 1)) + np.zeros((5, 4))
    assert faithful(0.9 + values).p_for < 0.01
    assert faithful(0.5 + values).p_against < 0.01
    # what halves of the prompts cost contradicts nothing
    assert faithful(0.78 + values).p_against > 0.5


def test_a_threshold_of_normalised_faithfulness_is_not_compared_with_a_raw_one():
    rows = circuits(np.full((5, 3), 0.9) + np.arange(5)[:, None] / 100)
    rows["faithfulness"] = "normalised"
    (one,) = faithful_circuits(given(models=MODELS, circuit_summary=rows))
    assert (one.n, one.status) == (0, "too_few_models")


def measured(columns) -> list[dict]:
    return [
        {"model": model, "task": "ioi", "step": 3, "status": "ok"}
        | {name: values[place] for name, values in columns.items()}
        for place, model in enumerate(MODELS[:5])
    ]


@pytest.mark.parametrize(
    ("mean", "verdict"), [(0.0, "for"), (0.3, "against"), (-0.3, "neither"), (0.1, "neither")]
)
def test_a_complement_without_the_task_is_near_0(mean, verdict):
    values = mean + np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
    rows = rows_of("circuit_summary", measured({"f_complement": values}))
    (one,) = complement_does_nothing(given(models=MODELS, circuit_summary=rows))
    assert (one.p_for < 0.01) == (verdict == "for")
    assert (one.p_against < 0.01) == (verdict == "against")
    assert one.value == pytest.approx(mean)


def test_complements_at_the_bound_are_called_complete_or_not_at_the_nominal_rate():
    generator = np.random.default_rng(6)
    rows = [
        row | {"task": task}
        for task in TASKS
        for row in measured({"f_complement": generator.normal(0.1, 0.03, 5)})
    ]
    how = {"models": MODELS, "tasks": TASKS, "circuit_summary": rows_of("circuit_summary", rows)}
    found = [*complement_does_nothing(given(**how))]
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST
    assert np.mean([one.p_against <= 0.05 for one in found]) <= AT_MOST


def test_small_circuits_are_those_of_which_most_tested_edges_are_needed():
    columns = {"edges_needed": [8, 9, 7, 8, 0], "edges_tested": [10, 10, 10, 10, 0]}
    rows = rows_of("circuit_summary", measured(columns))
    (one,) = small_circuits(given(models=MODELS, circuit_summary=rows))
    assert (one.n, one.value) == (4, pytest.approx(0.8))
    assert one.p_for < 0.01
    assert np.isnan(one.p_against)  # not shown to be needed is not shown to be superfluous
    rows["selection"] = "nodes"
    (one,) = small_circuits(given(models=MODELS, circuit_summary=rows))
    assert (one.n, one.status) == (0, "too_few_models")


def test_one_model_is_no_evidence():
    one = faithful([[0.9, 0.9]])
    assert (one.status, one.n) == ("too_few_models", 1)
    assert np.isnan(one.value)


def compared(overlaps, floors, *, task="ioi") -> pd.DataFrame:
    rows = [
        {"model": model, "task": task, "step": step, "comparison": "consecutive", "level": "edge"}
        | {"weighting": "none", "jaccard_matched": overlap, "floor_median": floor}
        for model, of_model, floor in zip(MODELS, overlaps, floors, strict=False)
        for step, overlap in enumerate(of_model)
    ]
    return rows_of("stability", rows)


def test_stability_is_the_overlap_above_that_of_halves():
    """All overlaps are the same, but prompts matter less in larger models: these are less stable.

    A model without any overlap does not decide which steps count; a step that one model lacks does.
    """
    floors = np.linspace(0.2, 0.8, 7)
    overlaps = np.full((7, 3), 0.8)
    overlaps[6] = np.nan
    overlaps[0, 2] = np.nan
    overlaps[1, 2] = 99.0
    table = compared(overlaps, floors)
    (one,) = stabler_circuits(given(models=MODELS, stability=table))
    assert one.n == 6
    assert one.value == pytest.approx(-1.0)
    assert one.p_against < 0.01
    assert one.p_for == 1.0


def test_random_overlaps_support_or_contradict_at_the_nominal_rate():
    generator = np.random.default_rng(2)
    tables = [compared(generator.uniform(size=(6, 3)), np.full(6, 0.5), task=t) for t in TASKS]
    how = {"models": MODELS[:6], "tasks": TASKS, "stability": pd.concat(tables)}
    found = [*stabler_circuits(given(**how))]
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST
    assert np.mean([one.p_against <= 0.05 for one in found]) <= AT_MOST


def test_size_is_taken_from_edges_and_the_logarithm_of_parameters():
    rows = [
        {"task": "ioi", "level": level, "x": x, "r": r, "p": 0.02, "n": 5}
        for level, x, r in [
            *(("edge", "params", 0.1), ("node", "log_params", 0.2)),
            ("edge", "log_params", -0.9),
        ]
    ]
    (one,) = larger_circuits(given(size_correlation=rows_of("size_correlation", rows)))
    assert (one.value, one.p_for, one.p_against, one.n) == (-0.9, 1.0, 0.02, 5)
