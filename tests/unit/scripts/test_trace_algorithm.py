"""The script that traces the known algorithms, on a planted IOI circuit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from circuitlapse.io.activation_files import write_activations
from circuitlapse.io.circuit_files import write_circuit
from circuitlapse.io.provenance import provenance, weights_hash
from circuitlapse.io.table_files import read_provenance, read_table, write_table
from circuitlapse.io.task_files import write_task
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import load_decoder
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import (
    ALGORITHM_CONSISTENCY,
    CIRCUIT_SUMMARY,
    GT_ALGORITHM,
    HEADS,
    IOI_SCHEMAS,
    SCHEMAS,
)
from circuitlapse.tables.registry import JOBS
from circuitlapse.tasks.encode import Task, to_frame
from circuitlapse.types import Metric
from tests.planted_ioi import N_HEADS, N_LAYERS, planted_ioi_pairs, save_planted_ioi
from tests.records import record_of

WHERE = {"model": "tiny", "variant": "seed1", "step": 4, "tokens": 400}
COMPUTE = {"device": "cpu", "dtype": "float32", "batch_size": None, "memory_mb": None, "threads": 1}
ALGORITHM = {"min_copy": 10.0, "min_cspa": 0.1, "max_effect": -0.001, "freeze_mlps": False}
PARAMS = {
    "where": WHERE,
    "algorithm": ALGORITHM,
    "bootstrap": {"samples": 100, "level": 0.95, "seed": 7},
    "lengths": [4],
    "compute": COMPUTE,
    "stored_dtype": "float32",
}
IOI_EDGES = ("input->a0.h1<v>", "a0.h1->a1.h2<v>", "a1.h2->a2.h0<q>", "a2.h0->logits")
GT_EDGES = ("input->a0.h1<v>", "a0.h1->m1", "m1->logits")
GRAPH = Graph(N_LAYERS, N_HEADS, parallel=False)
KINDS = ("parquet", "csv")
FILES = {**IOI_SCHEMAS, "gt_algorithm": GT_ALGORITHM}


def task_of(name, builder, metric, pairs):
    columns = {"clean_tokens": pairs.clean, "corrupted_tokens": pairs.corrupted}
    columns |= {f"pos_{role}": at for role, at in pairs.roles.items()}
    columns = {column: values.tolist() for column, values in columns.items()}
    columns |= {"end": pairs.end.tolist(), "correct": pairs.correct, "wrong": pairs.wrong}
    words = {"template": "", "clean": "", "corrupted": ""}
    rows = [
        {
            "prompt_id": at,
            "group": at,
            **words,
            **{column: values[at] for column, values in columns.items()},
        }
        for at in range(len(pairs))
    ]
    return Task(name, metric, builder, False, 5, {}, "none", {}, to_frame(rows))


def years():
    """Greater-Than among six suffixes: the year stands one place before the end."""
    pairs = planted_ioi_pairs().batch(0, 12)
    year = [1, 2, 3, 4] * 3
    clean = pairs.clean.clone()
    clean[:, 4] = torch.tensor(year)
    correct, wrong = [list(range(y + 1, 6)) for y in year], [list(range(y + 1)) for y in year]
    roles = {"yy": pairs.roles["s2"]}
    return replace(pairs, clean=clean, correct=correct, wrong=wrong, roles=roles)


def head_scores():
    layer, head = np.indices((N_LAYERS, N_HEADS)).reshape(2, -1)
    every = pd.DataFrame({"layer": layer, "head": head, "value": 0.0, "n": 9, "status": "ok"})
    every = every.assign(low=np.nan, high=np.nan)
    names = ("copy", "copy_neg", "cspa", "induction", "duplicate", "prev_token")
    frame = pd.concat([every.assign(score=name) for name in names], ignore_index=True)
    frame.loc[frame.query("score == 'copy' and layer == 2 and head == 0").index, "value"] = 90
    frame.loc[frame.query("score == 'duplicate' and layer == 0 and head == 1").index, "value"] = 1
    return HEADS.cast(frame.assign(**WHERE))


def scores_of(edges):
    """Scores of all edges: those of the circuit have by far the largest."""
    scores = np.where(GRAPH.exists, np.random.default_rng(0).random(GRAPH.exists.shape), np.nan)
    scores[:, GRAPH.port_targets(2, "q")] *= 0.01  # what no head sends to name movers
    for edge in edges:
        scores[GRAPH.edge_index(edge)] = 10
    return scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, its head scores, two tasks with circuits, and activations of one of them."""
    folder = tmp_path_factory.mktemp("algorithm")
    save_planted_ioi(folder / "model")
    write_table(folder / "heads.parquet", head_scores(), provenance={})
    ioi = task_of("ioi", "ioi", Metric.LOGIT_DIFF, planted_ioi_pairs())
    gt = task_of("gt", "greater_than", Metric.PROB_DIFF, years())
    for task, edges in ((ioi, IOI_EDGES), (gt, GT_EDGES)):
        write_task(folder / f"{task.name}.parquet", task, {})
        named = {"task": task.name, "metric": str(task.metric), "scores": scores_of(edges)}
        record = record_of(GRAPH, edges, **named, **WHERE)
        write_circuit(folder / f"{task.name}.h5", record, {"key": "0"})
    write_circuit(folder / "none.h5", record_of(GRAPH), {"key": "0"})
    runs = cache_activations(load_decoder(folder / "model"), PromptPairs.from_task(gt))
    inputs = {"weights": weights_hash(folder / "model"), "task": gt.content_hash}
    write_activations(
        folder / "runs.h5", runs, provenance(inputs, {}, stage="activations"), dtype="float32"
    )
    return folder


@pytest.fixture
def trace(run_script, folder, tmp_path):
    def run(**inputs):
        given = {"model": "model", "heads": "heads.parquet"} | inputs
        log = run_script(
            "trace_algorithm",
            inputs={name: folder / path for name, path in given.items()},
            output={name: tmp_path / f"{name}.parquet" for name in FILES},
            params=PARAMS,
        )
        tables = {
            name: read_table(tmp_path / f"{name}.parquet", schema) for name, schema in FILES.items()
        }
        return log, tables

    return run


IOI = {"ioi_task": "ioi.parquet", "ioi_circuit": "ioi.h5"}
GT = {"gt_task": "gt.parquet", "gt_circuit": "gt.h5", "gt_activations": "runs.h5"}


def test_both_algorithms_are_traced_and_the_tables_say_in_what(trace, tmp_path):
    log, tables = trace(**IOI, **GT)
    found = tables["roles"][["role", "layer", "head"]].to_numpy().tolist()
    assert found == [["NM", 2, 0], ["S2I", 1, 2], ["Dup", 0, 1]]
    assert set(tables["gt_algorithm"]["node"]) == {"a0.h1", "m1"}
    for name, table in tables.items():
        assert (table[list(WHERE)].drop_duplicates() == pd.Series(WHERE)).all(axis=None)
        if name not in ("effects", "gt_algorithm"):
            assert set(table["task"]) == {"ioi"}
    assert set(tables["gt_algorithm"]["task"]) == {"gt"}
    assert "direct, circuit: 100 % (ok)" in log
    origin = read_provenance(tmp_path / "roles.parquet")
    assert {"weights_hash", "ioi_circuit_hash", "gt_activations_hash", "settings"} <= set(origin)


def test_without_a_task_its_tables_are_empty_and_the_log_says_so(trace):
    log, tables = trace(**IOI)
    assert tables["gt_algorithm"].empty
    assert not tables["effects"].empty
    assert "gt_algorithm: 0 rows" in log
    log, tables = trace()
    assert all(table.empty for table in tables.values())
    assert "effects: 0 rows" in log


def test_where_no_circuit_was_found_the_tables_say_so(trace):
    _, tables = trace(**IOI | {"ioi_circuit": "none.h5"}, **GT | {"gt_circuit": "none.h5"})
    both = tables["algorithm_consistency"].query("sign == 'both'")
    status = both.set_index(["panel", "denominator"])["status"]
    assert status["direct", "circuit"] == status["s2i", "circuit"] == "no_circuit"
    assert tables["gt_algorithm"].empty


def test_tables_of_all_jobs_are_put_together_also_where_some_are_empty(trace, run_script, tmp_path):
    jobs = [trace(**IOI, **GT)[1], trace()[1]]
    names = list(JOBS["algorithm"].tables)
    inputs = {name: [tmp_path / f"{n}-{name}.parquet" for n in range(2)] for name in names}
    for name, paths in inputs.items():
        for tables, path in zip(jobs, paths, strict=True):
            write_table(path, tables[name], provenance={})
    inputs["circuit_summary"] = tmp_path / "summary.parquet"
    write_table(inputs["circuit_summary"], CIRCUIT_SUMMARY.empty(), provenance={})
    output = {kind: [tmp_path / f"all-{name}.{kind}" for name in names] for kind in KINDS}
    run_script(
        "aggregate",
        rule="aggregate_algorithm",
        inputs=inputs,
        output=output,
        params={"models": ["tiny"], "tasks": ["gt", "ioi"]},
    )
    for name, parquet, csv in zip(names, output["parquet"], output["csv"], strict=True):
        table = read_table(parquet, SCHEMAS[name])
        assert len(table) == len(jobs[0][name]) == len(pd.read_csv(csv)) > 0
    consistency = read_table(tmp_path / "all-algorithm_consistency.parquet", ALGORITHM_CONSISTENCY)
    assert list(consistency["panel"]) == sorted(consistency["panel"])
