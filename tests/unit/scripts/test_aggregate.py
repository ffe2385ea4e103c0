"""The script that makes all tables, on files of single jobs."""

from __future__ import annotations

import pandas as pd
import pytest

from circuitlapse.io.circuit_files import write_circuit
from circuitlapse.io.provenance import file_hash
from circuitlapse.io.table_files import read_provenance, read_table, write_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, ROLES, SCHEMAS
from circuitlapse.tables.registry import JOBS
from tests.unit.tables.test_circuits import make_record, without_behaviour

ORDER = {"models": ["small"], "tasks": ["ioi"]}


@pytest.fixture
def aggregate(run_script, tmp_path):
    """Makes the tables of a job in a folder; returns its log and the tables."""

    def run(name, inputs, settings=ORDER):
        tables = JOBS[name].tables
        kinds = ("parquet", "csv")
        output = {kind: [tmp_path / f"all-{table}.{kind}" for table in tables] for kind in kinds}
        rule = f"aggregate_{name}"
        log = run_script("aggregate", rule=rule, inputs=inputs, output=output, params=settings)
        found = {
            table: read_table(path, SCHEMAS[table])
            for table, path in zip(tables, output["parquet"], strict=True)
        }
        for table, path in zip(tables, output["csv"], strict=True):
            assert len(pd.read_csv(path)) == len(found[table])
        return log, found

    return run


@pytest.fixture
def circuits(tmp_path):
    """Two circuit files, one of them of a model without the behaviour."""
    paths = [tmp_path / f"{step}.h5" for step in (2, 8)]
    write_circuit(paths[0], without_behaviour(step=2), {"key": "0"})
    write_circuit(paths[1], make_record(step=8), {"key": "0"})
    return paths


def test_several_tables_are_made_of_circuit_files(aggregate, circuits, tmp_path):
    log, tables = aggregate("circuits", {"records": circuits})
    assert tables["circuit_summary"]["status"].tolist() == ["no_behaviour", "ok"]
    assert "circuit_summary: 2 rows from 2 files" in log
    origin = read_provenance(tmp_path / "all-ranking_area.parquet")
    assert {f"{path}_hash": file_hash(path) for path in circuits}.items() <= origin.items()


def test_a_table_is_made_of_other_tables_too_and_each_is_in_the_provenance(
    aggregate, circuits, tmp_path
):
    aggregate("circuits", {"records": circuits})
    summary = tmp_path / "all-circuit_summary.parquet"
    section = {"alpha": 0.5, "reference_step": None, "min_step": 1}
    settings = ORDER | {"originals": ["small"], "stability": section}
    _, tables = aggregate(
        "stability", {"records": circuits, "circuit_summary": summary}, settings=settings
    )
    assert set(tables["stability"]["comparison"]) == {"consecutive", "reference"}
    origin = read_provenance(tmp_path / "all-stability.parquet")
    assert origin[f"{summary}_hash"] == file_hash(summary)


def test_each_table_of_the_algorithm_is_read_by_its_own_schema(aggregate, tmp_path):
    where = {"model": "small", "variant": "", "step": 8, "tokens": 800, "task": "ioi"}
    role = where | {"role": "NM", "layer": 1, "head": 2, "effect": -0.5, "unit": "share", "n": 9}
    frames = {name: SCHEMAS[name].empty() for name in JOBS["algorithm"].tables}
    frames["roles"] = ROLES.cast(pd.DataFrame([role]))
    inputs = {name: [tmp_path / f"{name}.parquet"] for name in frames}
    for name, frame in frames.items():
        write_table(inputs[name][0], frame, provenance={})
    inputs["circuit_summary"] = tmp_path / "summary.parquet"
    write_table(inputs["circuit_summary"], CIRCUIT_SUMMARY.empty(), provenance={})
    _, tables = aggregate("algorithm", inputs)
    assert {name: len(table) for name, table in tables.items()} == {
        "s2i": 0,
        "roles": 1,
        "algorithm_consistency": 0,
        "role_graph": 0,
        "self_repair": 0,
        "gt_algorithm": 0,
    }
