from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.schemas import SCHEMAS
from circuitlapse.tables.masking import (
    MASKS,
    does_task,
    lacks_late_behaviour,
    masked,
    with_late_rule,
)

WHERE = {"model": "small", "variant": "", "task": "ioi"}


def summary_of(metric: dict[int, float], status: str = "ok", **where: str) -> pd.DataFrame:
    """`circuit_summary` of one model and task with the metric at each step."""
    rows = [WHERE | where | {"step": step, "m_model": value} for step, value in metric.items()]
    return pd.DataFrame(rows).assign(status=status)


LATE = summary_of({1: 0.09, 4: 0.11, 5: 1.0, 8: 2.0, 10: 3.0})
"""Late steps are 5, 8 and 10, their mean metric 2, so the limit is 0.1."""


def test_below_five_percent_of_the_late_mean_a_model_does_not_do_the_task():
    assert lacks_late_behaviour(LATE).tolist() == [True, False, False, False, False]
    assert with_late_rule(LATE)["status"].tolist() == ["no_behaviour", *["ok"] * 4]


def test_what_the_search_said_stays():
    summary = summary_of({1: 1.0, 2: 1.0}).assign(status=["no_behaviour", "not_reached"])
    assert with_late_rule(summary)["status"].tolist() == ["no_behaviour", "not_reached"]


def test_each_task_and_model_has_its_own_late_mean():
    strong = summary_of({4: 90.0, 10: 90.0}, task="sva")
    weak = summary_of({4: 0.01, 10: 0.01}, model="large")
    summary = pd.concat([LATE, strong, weak], ignore_index=True)
    absent = summary[lacks_late_behaviour(summary)]
    assert absent[["model", "task", "step"]].to_numpy().tolist() == [["small", "ioi", 1]]


def test_whether_a_model_does_a_task_is_unknown_where_there_is_no_circuit():
    table = pd.DataFrame([WHERE | {"step": step} for step in (4, 1, 7)], index=[5, 3, 9])
    does = does_task(table, with_late_rule(LATE))
    assert does.index.tolist() == [5, 3, 9]
    assert does[[5, 3]].tolist() == [True, False]
    assert does.isna().tolist() == [False, False, True]


def test_the_columns_of_model_task_and_step_may_have_other_names():
    table = pd.DataFrame([WHERE | {"step": 4, "circuit_step": 1, "circuit_task": "ioi"}])
    at = ("model", "variant", "circuit_task", "circuit_step")
    assert does_task(table, with_late_rule(LATE)).tolist() == [True]
    assert does_task(table, with_late_rule(LATE), at=at).tolist() == [False]


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_names_columns_of_its_table(name):
    for mask in MASKS[name]:
        named = {*mask.missing, *mask.values, *mask.only, *mask.at}
        assert named <= set(SCHEMAS[name].columns)


@pytest.mark.parametrize("name", MASKS)
def test_a_masked_table_keeps_its_schema_and_other_rows(name):
    schema = SCHEMAS[name]
    values = {"bool": True, "boolean": True, "str": "x"}
    row = {column: values.get(dtype, 1) for column, dtype in schema.columns.items()} | WHERE
    row |= {"circuit_task": "ioi", "circuit_step": 4}
    row |= {f"circuit_{name}": WHERE[name] for name in ("model", "variant")}
    row |= MASKS[name][0].only
    frame = pd.DataFrame([row | {"step": step} for step in (1, 4)])
    table = masked(schema.cast(frame), name, with_late_rule(LATE))
    schema.check(table, where="test")
    if MASKS[name][0].drop:
        pd.testing.assert_frame_equal(table, schema.cast(frame)[1:].reset_index(drop=True))
        return
    pd.testing.assert_frame_equal(table[1:], schema.cast(frame)[1:])
    assert table.loc[0, list(MASKS[name][0].missing)].isna().all()
    for column, value in MASKS[name][0].values.items():
        assert table.loc[0, column] == value


def test_a_mask_leaves_out_rows_that_it_is_not_about():
    rows = [WHERE | {"step": 1, "score": score, "layer": 0, "head": 0} for score in ("a", "b")]
    frame = pd.DataFrame(rows).assign(
        tokens=0, value=0.5, low=0.4, high=0.6, n=3, status="ok", in_circuit=pd.NA
    )
    frame["unit"] = ["share", "share of the drop to the corrupted level"]
    schema = SCHEMAS["components"]
    table = masked(schema.cast(frame), "components", with_late_rule(LATE))
    assert table["status"].tolist() == ["ok", "no_behaviour"]
    assert np.isnan(table["value"]).tolist() == [False, True]
    assert table["n"].tolist() == [3, 0]
