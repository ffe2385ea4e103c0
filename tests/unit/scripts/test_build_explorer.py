from circuitlapse.io.table_files import write_table
from tests.explorer_tables import SMALL, TASKS, run


def test_the_explorer_is_built_from_tables_alone(run_script, tmp_path):
    inputs = {}
    for name, table in run().items():
        inputs[name] = tmp_path / f"{name}.parquet"
        write_table(inputs[name], table, provenance={})
    target = tmp_path / "explorer.html"
    log = run_script(
        "build_explorer",
        inputs=inputs,
        output={"page": target},
        params={
            "title": "run",
            "models": {name: (name.upper(), None, 64) for name in SMALL},
            "tasks": list(TASKS),
            "threshold": 0.8,
        },
    )
    assert target.read_text().startswith("<!doctype html>")
    assert f"built {target}, 0." in log
