import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest

from circuitlapse.figures.registry import FIGURES
from circuitlapse.io.table_files import read_provenance
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.workflow import SCHEDULING
from circuitlapse.processes import Process, host
from circuitlapse.tables.registry import JOBS, TABLES

RESULTS = "results-smoke"
LAST = 400
ALONE = [
    f"{RESULTS}/tables/{name}.parquet"
    for name in ("behaviour", "circuit_summary", "faithfulness_curve", "circuit_edges")
] + [f"{RESULTS}/tables/{name}.parquet" for name in ("components", "roles", "s2i")]
"""Tables in which the rows of a step depend on no other step."""
AGAIN = {
    "all",
    *(f"aggregate_{name}" for name in JOBS),
    *(f"plot_{name}" for name in FIGURES),
    *("transfer_circuits", "swap_components", "build_explorer"),
}


def test_every_table_and_figure_is_made(finished):
    results = finished.folder / RESULTS
    for table in TABLES:
        parquet = pd.read_parquet(results / f"tables/{table}.parquet")
        csv = pd.read_csv(results / f"tables/{table}.csv", keep_default_na=False)
        assert list(parquet.columns) == list(csv.columns)
        assert len(parquet) == len(csv)
    for figure in FIGURES:
        assert (results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"figures/{figure}.png").read_bytes().startswith(b"\x89PNG")
    behaviour = pd.read_parquet(results / "tables/behaviour.parquet")
    assert len(behaviour) == 2 * 3
    assert dict(behaviour.groupby("task")["n"].first()) == {"ioi": 20, "sva": 25}


def test_untrained_models_show_no_behaviour(finished):
    summary = pd.read_parquet(finished.folder / RESULTS / "tables/circuit_summary.parquet")
    start = summary[summary["step"] == 0]
    assert set(start["status"]) == {"no_behaviour"}
    assert start[["f_raw", "n_edges"]].isna().all(axis=None)


def test_what_the_tiny_model_has_learned_at_its_end_has_a_faithful_circuit(finished):
    summary = pd.read_parquet(finished.folder / RESULTS / "tables/circuit_summary.parquet")
    end = summary[(summary["step"] == 400) & (summary["task"] == "sva")].iloc[0]
    assert end["status"] == "ok"
    assert 0.8 <= end["f_raw"] <= 1.2
    assert 0 < end["n_edges"] <= end["n_edges_total"] / 2


def test_at_home_a_circuit_is_as_faithful_in_the_table_of_transfers_as_in_the_summary(finished):
    tables = finished.folder / RESULTS / "tables"
    transfer, summary = (
        pd.read_parquet(tables / f"{n}.parquet") for n in ("transfer", "circuit_summary")
    )
    at_home = transfer.query("control == 'own' and step == circuit_step and task == circuit_task")
    both = at_home.merge(summary, on=["model", "task", "step"], suffixes=("", "_found"))
    assert len(both) == len(summary) == 2 * 3
    assert both["f_norm"].notna().any()
    for name in ("m_model", "m_corrupted", "m_circuit", "f_raw", "f_norm", "n_edges"):
        found, expected = (both[column].astype("float64") for column in (name, f"{name}_found"))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_no_prompt_stands_in_the_text_that_the_models_learned_from(finished):
    results = finished.folder / RESULTS
    text = (results / "corpus/pocket/train.txt").read_text()
    tasks = [read_task(path).frame for path in (results / "tasks/pocket").glob("*.parquet")]
    prompts = [prompt for task in tasks for prompt in (*task["clean"], *task["corrupted"])]
    assert len(prompts) == 2 * (20 + 50)
    assert not [prompt for prompt in prompts if prompt in text]


def test_activations_are_deleted_when_nothing_needs_them_any_more(finished):
    assert not list((finished.folder / RESULTS).glob("activations/**/*.h5"))


def test_a_circuit_file_says_where_it_comes_from(finished):
    with h5py.File(finished.folder / RESULTS / "circuits/pocket-tiny/ioi/step400.h5") as file:
        assert len(file.attrs["weights_hash"]) == len(file.attrs["task_hash"]) == 64
        assert '"seed": 1234' in file.attrs["settings"]
        assert {"circuitlapse", "code_hash", "torch"} <= set(file.attrs)
        assert [dim.label for dim in file["scores"].dims] == ["source", "target"]


def test_results_of_models_say_how_precise_they_are(finished):
    """And not how the work was shared among jobs and GPUs."""
    results = finished.folder / RESULTS
    kinds = ("behaviour", "circuits", "heads", "algorithm", "transfer", "swaps")
    files = [file for kind in kinds for file in (results / kind).rglob("*.*")]
    assert {file.relative_to(results).parts[0] for file in files} == set(kinds)
    for file in files:
        compute = json.loads(attributes_of(file)["settings"])["compute"]
        assert (compute["dtype"], compute["matmul"]) == ("float32", "highest"), file
        assert not compute.keys() & SCHEDULING, file


def attributes_of(file):
    if file.suffix == ".parquet":
        return read_provenance(file)
    with h5py.File(file) as stream:
        return dict(stream.attrs)


def test_logs_say_what_was_done(finished):
    logs = finished.folder / RESULTS / "logs"
    assert "loss" in (logs / "train_suite/pocket-tiny.log").read_text()
    assert "tasks: 2/2" in (logs / "discover_circuit/pocket-tiny/step400.log").read_text()


def test_every_job_says_what_it_took(finished):
    folder = finished.folder / RESULTS
    logs, timings = (
        {file.relative_to(folder / kind).with_suffix("") for file in (folder / kind).rglob("*.*")}
        for kind in ("logs", "benchmarks")
    )
    assert logs == timings
    took = pd.concat(pd.read_csv(file, sep="\t") for file in folder.glob("benchmarks/**/*.tsv"))
    assert (took[["s", "cpu_time", "max_rss"]] > 0).all(axis=None)


@pytest.mark.skipif(sys.platform != "linux", reason="jobs are forks on Linux")
def test_a_run_ends_with_what_its_jobs_took_which_is_less_than_their_imports(copied):
    imported = "circuitlapse.io.circuit_files, circuitlapse.manifest.job_record, snakemake.script"
    script = f"import time, pandas, {imported}; print(time.process_time())"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    targets = [f"{RESULTS}/tables/{name}.csv" for name in ("behaviour", "components")]
    for target in targets:
        (copied.folder / target).unlink()
    output = copied.run(*targets)
    table = output.partition("Its jobs took:\n")[2].splitlines()[1:4]
    *rules, total = (line.split() for line in table)
    assert {(name, jobs) for name, jobs, *_ in rules} == {
        ("aggregate_behaviour", "1"),
        ("aggregate_components", "1"),
    }
    assert total[:3] == ["all", "jobs", "2"]
    assert all(float(cpu_s) < float(done.stdout) for *_, cpu_s in rules)


def test_a_run_ends_with_where_to_look(copied):
    """Once, although every job starts Snakemake anew; and not before all figures are there."""
    figures = copied.folder / RESULTS / "figures"
    for name in ("swaps", "transfer"):
        (figures / f"{name}.png").unlink()
    said = (
        "Figures are in results-smoke/figures; all on one page: "
        'make report CONFIG="config/smoke.yaml"\n'
        "To look into the circuits, open results-smoke/explorer.html in a browser\n"
    )
    assert "make report" not in copied.run(f"{RESULTS}/figures/swaps.png")
    assert "make report" not in copied.run("--dry-run")
    output = copied.run()
    assert output.count(said) == 1
    assert output.count("make report") == 1


def test_a_second_run_does_nothing(finished):
    assert finished.jobs() == {}


def test_the_same_step_gives_the_same_numbers_bit_for_bit(finished, workflow):
    """Also on another number of cores, and when no other step is analysed.

    Corrected p values depend on the number of circuits in the table.
    """
    config = workflow.write_config("last_step.yaml", steps=[LAST])
    workflow.run("--cores", "1", *ALONE, config=config)
    for table in ALONE:
        one, other = (pd.read_parquet(each.folder / table) for each in (finished, workflow))
        one = one[one["step"] == LAST].reset_index(drop=True)
        one, other = (each[[name for name in each if name[:2] != "q_"]] for each in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_adding_a_step_runs_only_the_jobs_of_that_step(finished):
    config = finished.write_config("more_steps.yaml", steps=[0, 100, 200, 400])
    expected = dict.fromkeys(AGAIN, 1) | {
        "cache_activations": 1,
        "discover_circuit": 1,
        "score_heads": 1,
        "trace_algorithm": 1,
        "plot_circuit_diagram": 2,
    }
    assert finished.jobs(config=config) == expected


def test_adding_a_task_keeps_the_circuits_that_are_there(copied):
    task = [
        {"name": name, "n_prompts": n}
        for name, n in (("ioi", 20), ("sva", 50), ("greater_than", 16))
    ]
    config = copied.write_config("more_tasks.yaml", tasks=task, steps=[400])
    circuit = copied.folder / RESULTS / "circuits/pocket-tiny/ioi/step400.h5"
    before = circuit.read_bytes()
    copied.run("circuits", config=config)
    log = (copied.folder / RESULTS / "logs/discover_circuit/pocket-tiny/step400.log").read_text()
    assert log.count("circuit kept") == 2
    assert "greater_than:" in log
    assert circuit.read_bytes() == before
    assert copied.jobs("circuits", config=config) == {}


def test_a_changed_figure_setting_draws_again_and_computes_nothing(finished):
    timeless = {"audit", "emergence", "faithfulness", "size_correlation", "transfer_tasks", "swaps"}
    timeless |= {"change_sources", "claims", "role_graph"}
    drawn = {f"plot_{name}" for name in set(FIGURES) - timeless}
    assert set(finished.jobs("--config", "figures={min_step: 150}")) == {"all", *drawn}


OF_STABILITY = {"aggregate_stability", "aggregate_change_sources", "aggregate_claims"}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("{alpha: 0.3}", OF_STABILITY),
        ("{reference_step: 100}", OF_STABILITY),
        ("{min_step: 100}", {*OF_STABILITY, "aggregate_size_correlation"}),
    ],
)
def test_a_changed_stability_setting_makes_its_tables_again_and_no_circuit(finished, change, again):
    found = set(finished.jobs("tables", "--config", f"stability={change}"))
    assert found == {"tables", "aggregate_reproduction", *again}


def test_a_circuit_is_compared_with_those_of_other_steps_and_of_half_the_prompts(finished):
    """Four rows each: edges and nodes, weighted and not."""
    table = pd.read_parquet(finished.folder / RESULTS / "tables/stability.parquet")
    table = table[table["task"] == "sva"]
    counts = {"halves": 8, "consecutive": 4, "reference": 4}
    assert dict(table["comparison"].value_counts()) == counts
    defined = table["size"].notna() & table["size_next"].notna()
    assert (table["jaccard"].notna() == defined).all()
    assert table.loc[defined, "jaccard"].between(0, 1).all()
    assert (table.loc[table["comparison"] == "consecutive", "size"] > 0).all()


def test_a_killed_run_loses_nothing_finished_and_leaves_nothing_half_written(copied):
    """Kill the workflow and its jobs in the middle of a job; the next run only redoes that."""
    target = copied.folder / RESULTS / "circuits/pocket-tiny/ioi/step400.h5"
    log = copied.folder / RESULTS / "logs/discover_circuit/pocket-tiny/step400.log"
    expected = files_in(copied.folder / RESULTS)
    target.unlink()
    log.unlink()
    stop_when(log.exists, copied.command("circuits"), folder=copied.folder)
    assert_whole(copied.folder / RESULTS, expected)
    dead = Process(host(), pid=2**22, started=0)  # as if it was killed while it wrote
    for name in (target.name, "of_no_job"):
        stale = target.parent / ".".join(["", name, *map(str, dead), "abcd1234"])
        stale.mkdir()
        (stale / target.name).write_bytes(b"half of")
    copied.run("--unlock")
    again = {"circuits", "cache_activations", "discover_circuit"}
    assert set(copied.jobs("circuits")) <= again
    assert copied.jobs("circuits")["discover_circuit"] == 1
    copied.run("circuits")
    assert_whole(copied.folder / RESULTS, expected)
    assert files_in(copied.folder / RESULTS).keys() == expected.keys()
    assert not [path for path in (copied.folder / RESULTS).rglob(".*") if path.is_dir()]


def files_in(results):
    """Return the bytes of every result under a final name."""
    paths = [path.relative_to(results) for path in results.rglob("*") if path.is_file()]
    aside = ("logs", "benchmarks", "manifest")
    return {
        path: (results / path).read_bytes()
        for path in paths
        if path.parts[0] not in aside and not any(part.startswith(".") for part in path.parts)
    }


def assert_whole(results, expected):
    """Whatever stands under a final name is what a run that nobody killed puts there."""
    for path, found in files_in(results).items():
        if path in expected:
            assert found == expected[path], path
        else:
            assert path.parts[0] == "activations"
            assert h5py.is_hdf5(results / path), path


def stop_when(ready, command, *, folder, by=signal.SIGKILL):
    """Start a command, stop it and its children as soon as `ready`, and return what it printed."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # tests may run in the background of a shell, whose children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, by)
    return process.communicate(timeout=60)[0]


def test_after_ctrl_c_there_is_one_line_per_job_and_training_goes_on(copied):
    results = copied.folder / RESULTS
    models, unfinished = results / "models/pocket-tiny", results / "training/pocket-tiny"
    expected = files_in(models)
    shutil.rmtree(models)
    target = f"{RESULTS}/models/pocket-tiny/step400"
    printed = stop_when(
        (unfinished / "state200").exists,
        copied.command(target),
        folder=copied.folder,
        by=signal.SIGINT,
    )
    assert "Traceback" not in printed
    log = results / "logs/train_suite/pocket-tiny.log"
    assert printed.count(f"stopped by Ctrl-C: {log.relative_to(copied.folder)}\n") == 1
    copied.run(target)
    assert "going on after step 200 of an unfinished training" in log.read_text()
    assert files_in(models) == expected
    assert not unfinished.exists()


def test_activations_can_be_kept(copied):
    arguments = ("--config", "activations={keep: true, dtype: float16}")
    target = f"{RESULTS}/activations/pocket-tiny/ioi/step400.h5"
    copied.run(target, *arguments)
    with h5py.File(copied.folder / target) as file:
        assert file["clean/z"].dtype == "float16"
        assert [dim.label for dim in file["clean/z"].dims] == [
            "prompt",
            "pos",
            "layer",
            "head",
            "d_head",
        ]


def test_the_report_is_one_page_with_every_figure(copied):
    report = copied.folder / "report.html"
    copied.run("--report", str(report))
    page = report.read_text()
    for figure in FIGURES:
        assert f"figures/{figure}.png" in page


@pytest.mark.parametrize(
    "change",
    ["circuits={threshold: 0.9}", "activations={keep: true}", "bootstrap={samples: 200}"],
)
def test_a_change_runs_again_what_the_table_of_keys_says(finished, change):
    planned = finished.jobs("--config", change)
    assert planned["cache_activations"] == planned["discover_circuit"] == 3
    assert not {"make_corpus", "train_suite", "make_task"} & set(planned)


def test_removing_a_task_takes_up_the_others_again(finished):
    """Their circuits are kept; see the test that adds one."""
    tasks = [{"name": "sva", "n_prompts": 50}]
    planned = finished.jobs(config=finished.write_config("fewer_tasks.yaml", tasks=tasks))
    assert planned["cache_activations"] == planned["discover_circuit"] == 3
    assert "make_task" not in planned
