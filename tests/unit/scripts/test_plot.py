from __future__ import annotations

from circuitlapse.io.table_files import write_table
from circuitlapse.schemas import CIRCUIT_EDGES, ROLES
from tests.unit.figures.conftest import LABELS, TASKS, make_behaviour, make_summary


def test_a_figure_is_written_in_the_format_of_each_ending(run_script, tmp_path):
    write_table(tmp_path / "behaviour.parquet", make_behaviour(), provenance={})
    targets = [tmp_path / "behaviour.pdf", tmp_path / "behaviour.png"]
    log = run_script(
        "plot",
        rule="plot_behaviour",
        inputs={"behaviour": tmp_path / "behaviour.parquet"},
        output=targets,
        params={"labels": LABELS, "tasks": TASKS, "min_step": 1},
    )
    assert [path.read_bytes()[:4] for path in targets] == [b"%PDF", b"\x89PNG"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("behaviour.parquet", "behaviour.pdf", "behaviour.png", "logs", "benchmarks", "manifest")
    }
    assert f"drew {targets[0]}, {targets[1]}" in log


def test_a_diagram_is_drawn_by_the_same_script(run_script, tmp_path):
    tables = {
        "circuit_edges": CIRCUIT_EDGES.empty(),
        "roles": ROLES.empty(),
        "circuit_summary": make_summary(),
    }
    inputs = {name: tmp_path / f"{name}.parquet" for name in tables}
    for name, table in tables.items():
        write_table(inputs[name], table, provenance={})
    run_script(
        "plot",
        rule="plot_circuit_diagram",
        inputs=inputs,
        output=[tmp_path / "step64.png"],
        params={"model": "small", "task": "ioi", "step": 64, "label": "Small"},
    )
    assert (tmp_path / "step64.png").read_bytes().startswith(b"\x89PNG")
