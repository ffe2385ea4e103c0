"""Tables of the authors' results, from planted records."""

import logging

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.selection import select_circuit
from circuitlapse.io.clone import nominal_size, published_record
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.schemas import BEHAVIOUR, PUBLISHED_CURVE, SCHEMAS
from circuitlapse.tables.published import FROM_STEP, MEAN_NODES, published_tables
from circuitlapse.tables.size_correlation import size_correlation_table

GRAPH = Graph(3, 4)
ORDER = {"models": ["pythia-70m", "pythia-160m"], "tasks": ["ioi", "sva"]}
STEPS = (512, 1000, 143000)
METRICS = {512: 0.01, 1000: 2.0, 143000: 3.0}
SIZES = {512: 4, 1000: 20, 143000: 30}


def scores_of(seed):
    draw = np.random.default_rng(seed).normal(size=GRAPH.exists.shape)
    return EdgeScores(GRAPH, np.where(GRAPH.exists, draw, np.nan))


def where(step, task="ioi", model="pythia-70m"):
    return {"model": model, "variant": model, "step": step, "tokens": 9 * step, "task": task}


def record(step, *, m_model=None, task="ioi", f=0.85, model="pythia-70m"):
    scores = scores_of(step)
    value = METRICS[step] if m_model is None else m_model
    curve = {2: 0.1, SIZES[step]: f, 60: 0.97}
    circuit = select_circuit(scores, SIZES[step])
    how = {"curve": curve, "m_model": value, "metric": "logit_diff"}
    return published_record(circuit, scores, **how, **where(step, task, model))


def curve_rows(record):
    curve = {2: 0.1, SIZES[record.step]: 0.85, 60: 0.97}
    rows = [
        where(record.step, record.task, record.model) | {"n_requested": n, "f_raw": f}
        for n, f in curve.items()
    ]
    return PUBLISHED_CURVE.cast(pd.DataFrame(rows))


def behaviour_of(records, *more):
    rows = [
        where(one.step, one.task, one.model) | {"value": one.m_model[0]}
        for one in records
        if not np.isnan(one.m_model[0])
    ]
    frame = pd.DataFrame([*rows, *more]).reindex(columns=list(BEHAVIOUR.columns))
    frame = frame.assign(metric="logit_diff", unit="logits", n=1, data_seed=0, n_parameters=9)
    frame = frame.assign(prepend_bos=False, dtype="bfloat16", checkpoint="ok")
    return BEHAVIOUR.cast(frame)


def tables_of(records, *more):
    curves = [curve_rows(one) for one in records]
    return published_tables(records, curves, behaviour=behaviour_of(records, *more), **ORDER)


def test_every_table_has_its_schema():
    tables = tables_of([record(step) for step in STEPS])
    for name, table in tables._asdict().items():
        SCHEMAS[name].check(table, where=name)


def test_planted_numbers_come_back():
    found = tables_of([record(step) for step in STEPS]).published.set_index("step")
    for step in STEPS:
        circuit = select_circuit(scores_of(step), SIZES[step])
        row = found.loc[step]
        assert (row["n_requested"], row["n_edges"]) == (SIZES[step], circuit.n_edges)
        assert row["n_nodes"] == circuit.n_nodes
        assert (row["value"], row["f_raw"]) == (METRICS[step], 0.85)
        assert row["selection_jaccard"] == 1.0
        assert row["n_edges_total"] == GRAPH.n_edges


def test_faithfulness_is_known_where_the_metric_is_not():
    tables = tables_of([record(step, m_model=np.nan) for step in STEPS])
    assert tables.circuit_summary["f_raw"].tolist() == [0.85] * 3
    assert tables.circuit_summary["status"].tolist() == ["ok"] * 3
    assert tables.circuit_summary["m_model"].isna().all()
    curve = tables.faithfulness_curve
    assert curve.loc[curve["step"] == 1000, "f_raw"].tolist() == [0.1, 0.85, 0.97]
    assert tables.published["value"].isna().all()


def test_a_model_that_does_not_do_the_task_yet_has_no_circuit_but_published_has_it():
    """At step 512 the metric is below 5 % of that of late training."""
    tables = tables_of([record(step) for step in STEPS])
    early = tables.circuit_summary.iloc[0]
    assert early["status"] == "no_behaviour"
    assert pd.isna(early["n_edges"])
    assert tables.published.iloc[0]["n_edges"] == select_circuit(scores_of(512), 4).n_edges
    assert not (tables.circuit_edges["step"] == 512).any()


def test_a_metric_without_a_circuit_is_published_too():
    more = where(143000, "sva", "pythia-160m") | {"value": 0.4}
    found = tables_of([record(1000)], more).published
    assert found["model"].tolist() == ["pythia-70m", "pythia-160m"]
    assert found.iloc[1]["value"] == 0.4
    assert pd.isna(found.iloc[1]["n_edges"])


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_mean_sizes_are_held_beside_those_that_the_authors_computed(monkeypatch, caplog, factor):
    caplog.set_level(logging.INFO)
    late = [select_circuit(scores_of(step), SIZES[step]).n_nodes for step in (1000, 143000)]
    theirs = {("pythia-70m", "ioi"): factor * np.mean(late)}
    monkeypatch.setattr("circuitlapse.tables.published.MEAN_NODES", theirs)
    tables_of([record(step) for step in STEPS])
    (said,) = [one for one in caplog.records if "on average" in one.message]
    assert said.levelname == ("INFO" if factor == 1 else "WARNING")


def test_sizes_of_models_are_not_those_of_the_script_of_the_authors():
    """It has 14e9 and 28e9 for 1.4 and 2.8 B; with the sizes of the names r is another."""
    models = [f"pythia-{size}" for size in ("70m", "160m", "410m", "1.4b", "2.8b")]
    summary, behaviour = [], []
    for model in models:
        place = where(FROM_STEP, model=model)
        summary.append(place | {"status": "ok", "n_nodes": MEAN_NODES[model, "ioi"], "n_edges": 1})
        behaviour.append(place | {"n_parameters": nominal_size(model)})
    table = size_correlation_table(
        pd.DataFrame(summary),
        pd.DataFrame(behaviour),
        originals=models,
        tasks=["ioi"],
        min_step=FROM_STEP,
    )
    row = table[(table["level"] == "node") & (table["x"] == "params")].iloc[0]
    means = [MEAN_NODES[model, "ioi"] for model in models]
    theirs = np.corrcoef([70e6, 160e6, 410e6, 14e9, 28e9], means)[0, 1]
    ours = np.corrcoef([70e6, 160e6, 410e6, 1.4e9, 2.8e9], means)[0, 1]
    assert row["r"] == pytest.approx(ours)
    assert abs(ours - theirs) > 0.001


def test_the_sizes_that_the_authors_report_are_all_there():
    assert len(MEAN_NODES) == 5 * 4
    assert MEAN_NODES["pythia-410m", "sva"] == pytest.approx(51.845)
    assert MEAN_NODES["pythia-2.8b", "gendered_pronoun"] == pytest.approx(42.333)
