from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import SIZE_CORRELATION
from circuitlapse.tables.size_correlation import size_correlation_table

PARAMETERS = {"s": 10, "m": 100, "l": 10_000}


def summary(
    nodes: dict[str, list[float]], *, task: str = "ioi", status: str = "ok"
) -> pd.DataFrame:
    """Each model's number of nodes at steps 0, 1, 2, ...; edges are their squares."""
    rows = [
        {"model": model, "task": task, "step": step, "n_nodes": n, "n_edges": n**2}
        | {"status": "no_behaviour" if pd.isna(n) else status}
        for model, line in nodes.items()
        for step, n in enumerate(line)
    ]
    return pd.DataFrame(rows).astype({"n_nodes": "Int32", "n_edges": "Int32"})


def behaviour(parameters: dict[str, int] = PARAMETERS) -> pd.DataFrame:
    return pd.DataFrame(
        {"model": list(parameters) * 2, "n_parameters": list(parameters.values()) * 2}
    )


def table(nodes: dict[str, list[float]], **changes: object) -> pd.DataFrame:
    how = {"originals": list(nodes), "tasks": ["ioi"], "min_step": 1}
    found = size_correlation_table(summary(nodes), behaviour(), **(how | changes))
    SIZE_CORRELATION.check(found, where="test")
    return found.set_index(["level", "x"])


def test_r_and_p_are_what_one_computes_by_hand():
    """Log sizes 1, 2, 4 and mean nodes 3, 5, 5 (steps from 1 on): r is 2 / sqrt(7).

    Of the three places that 3 can take, the other two give -1 / sqrt(28) and -5 / sqrt(28), so
    that a third of the orders has an r as large, and p, for both sides, is twice that.
    """
    found = table({"s": [99, 2, 4], "m": [0, 5, 5], "l": [1, 4, 6]})
    row = found.loc["node", "log_params"]
    assert row["r"] == pytest.approx(2 / np.sqrt(7))
    assert row["p"] == pytest.approx(2 / 3)
    assert (row["n"], row["n_steps"], row["min_step"], row["unit"]) == (3, 2, 1, "correlation")
    by_params = np.corrcoef(list(PARAMETERS.values()), [3, 5, 5])[0, 1]
    assert found.loc[("node", "params"), "r"] == pytest.approx(by_params)
    edges = np.corrcoef([1, 2, 4], [(4 + 16) / 2, 25, (16 + 36) / 2])[0, 1]
    assert found.loc[("edge", "log_params"), "r"] == pytest.approx(edges)


def test_the_first_step_counts_when_it_is_asked_for():
    found = table({"s": [9, 3], "m": [5, 5], "l": [1, 5]}, min_step=0)
    assert found.loc[("node", "params"), "r"] == pytest.approx(
        np.corrcoef(list(PARAMETERS.values()), [6, 5, 3])[0, 1]
    )


def test_only_steps_at_which_every_model_has_a_circuit_count():
    """Sizes grow over training here; a model that starts late would otherwise seem larger."""
    found = table({"s": [0, 2, 9, 4], "m": [0, pd.NA, 5, 6], "l": [0, 3, 7, pd.NA]})
    assert found["n_steps"].tolist() == [1] * 4
    expected = np.corrcoef([1, 2, 4], [9, 5, 7])[0, 1]
    assert found.loc[("node", "log_params"), "r"] == pytest.approx(expected)


def test_models_without_any_circuit_are_left_out():
    found = table({"s": [0, 3, 4], "m": [0, 6, pd.NA], "l": [0, pd.NA, pd.NA]})
    assert found["n"].tolist() == [2] * 4
    assert found["n_steps"].tolist() == [1] * 4
    assert found[["r", "p"]].isna().all(axis=None)


@pytest.mark.parametrize("status", ["not_reached", "overshoot"])
def test_circuits_of_censored_or_odd_size_do_not_count(status):
    """The size of a circuit that did not reach the threshold is that of the largest one tried."""
    nodes = {"s": [0, 4], "m": [0, 5], "l": [0, 8]}
    circuits = summary(nodes, status=status)
    how = {"originals": list(nodes), "tasks": ["ioi"], "min_step": 1}
    found = size_correlation_table(circuits, behaviour(), **how)
    assert found["n"].tolist() == found["n_steps"].tolist() == [0] * 4
    assert found[["r", "p"]].isna().all(axis=None)


def test_models_that_share_no_step_have_no_correlation():
    found = table({"s": [0, 4, pd.NA], "m": [0, 5, pd.NA], "l": [0, pd.NA, 8]})
    assert found["n_steps"].tolist() == [0] * 4
    assert found[["r", "p"]].isna().all(axis=None)


def test_sizes_that_are_all_the_same_have_no_correlation():
    found = table({"s": [0, 4], "m": [0, 4], "l": [0, 4]})
    assert found[["r", "p"]].isna().all(axis=None)
    assert found["n"].tolist() == [3] * 4


def test_only_the_models_that_are_asked_for_count():
    nodes = {"s": [0, 4], "m": [0, 5], "l": [0, 8]}
    assert table(nodes, originals=["s", "m"])["n"].tolist() == [2] * 4


def test_a_task_without_circuits_has_rows_too():
    found = size_correlation_table(
        summary({"s": [0, 4]}), behaviour(), originals=["s"], tasks=["sva", "ioi"], min_step=1
    )
    assert found["task"].tolist() == ["sva"] * 4 + ["ioi"] * 4
    assert found["n"].tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            pd.DataFrame({"model": ["s", "s"], "n_parameters": [1, 2]}),
            "of s: .* found 1, 2",
        ),
        (pd.DataFrame({"model": ["m"], "n_parameters": [1]}), "of s: .* found none"),
    ],
)
def test_a_model_must_have_one_number_of_parameters(parameters, message):
    with pytest.raises(ArtifactError, match=message):
        size_correlation_table(
            summary({"s": [1]}), parameters, originals=["s"], tasks=["ioi"], min_step=0
        )
