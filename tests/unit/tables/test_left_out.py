"""Checkpoints that are left out: no results, but a row that says so."""

from types import SimpleNamespace

import pandas as pd
import pytest

from circuitlapse.schemas import AUDIT, BEHAVIOUR, CIRCUIT_SUMMARY
from circuitlapse.tables.left_out import EMPTIED, STATUSES, kept, with_audit
from circuitlapse.types.status import Status
from tests.unit.figures.conftest import LABELS, make_behaviour, make_summary

MODEL = next(iter(LABELS))
STEPS = (1000, 2000, 143000)


@pytest.fixture
def audit():
    statuses = dict(zip(STEPS, ("duplicate", "suspect", "ok"), strict=True))
    rows = [
        {"model": MODEL, "variant": "pythia-70m", "step": step, "tokens": 2097152 * step}
        | {"file": "a", "hash": "a", "bytes": 1, "unit": "bytes", "shared": False}
        | {"status": status, "same_as": "", "instead_of": "", "left_out": status == "duplicate"}
        for step, status in statuses.items()
    ]
    return AUDIT.cast(pd.DataFrame(rows))


def test_results_of_such_a_checkpoint_are_dropped_wherever_it_is_named(audit):
    here = pd.DataFrame({"model": MODEL, "step": [1000, 2000]})
    circuits = here.assign(circuit_model=MODEL, circuit_step=[2000, 1000])
    swaps = pd.DataFrame({"model": MODEL, "source_step": [2000, 2000], "target_step": [1000, 5]})
    other = here.assign(model="other")
    found = [one.index.size for one in kept([here, circuits, swaps, other], audit)]
    assert found == [1, 0, 1, 2]
    records = [SimpleNamespace(model=MODEL, step=step) for step in STEPS]
    assert [record.step for record in kept(records, audit)] == [2000, 143000]


@pytest.mark.parametrize(
    ("name", "make", "schema"),
    [
        ("behaviour", make_behaviour, BEHAVIOUR),
        ("circuit_summary", make_summary, CIRCUIT_SUMMARY),
    ],
)
def test_it_has_a_row_per_task_without_numbers_that_says_why(audit, name, make, schema):
    made = make(models=(MODEL,), steps=STEPS)
    table = next(iter(kept([made], audit)))
    found = with_audit(table, name, audit)
    schema.check(found, where="test")
    out = found[found["step"] == 1000]
    assert out["task"].tolist() == made["task"].unique().tolist()
    assert set(out["tokens"]) == {2097152 * 1000}
    assert out[list(EMPTIED[name])].isna().all(axis=None)
    for column in STATUSES:
        assert column not in out or set(out[column]) == {"duplicate"}
    assert set(found.loc[found["step"] == 2000, "checkpoint"]) == {"suspect"}
    assert set(found.loc[found["step"] == 143000, "checkpoint"]) == {"ok"}
    there = [found["step"] == step for step in STEPS[1:]]
    measured = [column for column in table if column != "checkpoint"]
    pd.testing.assert_frame_equal(
        found.loc[there[0] | there[1], measured].reset_index(drop=True), table[measured]
    )


def test_every_number_of_these_tables_is_emptied_but_sizes_and_settings(audit):
    """So that a new column cannot keep the number of another step."""
    same = {"step", "tokens", "ig_steps", "threshold", "n", "n_edges_total", "n_parameters"}
    same |= {"data_seed", "prepend_bos"}
    for schema in (BEHAVIOUR, CIRCUIT_SUMMARY):
        numbers = {name for name, dtype in schema.columns.items() if dtype != "str"}
        assert numbers - same == set(EMPTIED[schema.name])


def test_nothing_changes_where_all_checkpoints_are_ok(audit):
    audit = audit.assign(status="ok", left_out=False)
    table = make_summary(models=(MODEL,), steps=STEPS)
    pd.testing.assert_frame_equal(with_audit(table, "circuit_summary", audit), table)
    assert Status("duplicate") is Status.DUPLICATE
