"""This run beside the authors' results, with planted agreement."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.overlap import RandomCircuits
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.errors import ArtifactError
from circuitlapse.io.clone import published_record
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.schemas import AGREEMENT, CIRCUIT_SUMMARY, PUBLISHED
from circuitlapse.tables.agreement import agreement_table
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.types import Level
from tests.unit.tables.test_compared import GRAPH, SIZE, TRUTH, record

ORDER = {"models": ["small"], "tasks": ["ioi"]}
FLOOR = np.linspace(0.6, 1.0, 20)
N = 20


def theirs(*, noise=0.0, n=N, step=8, graph=GRAPH, values=TRUTH, m_model=1.2):
    """Return the authors' record of a circuit by the true scores, with noise."""
    draw = np.random.default_rng(5).normal(size=values.shape)
    scores = EdgeScores(graph, np.where(graph.exists, values + noise * draw, np.nan))
    circuit = cut(graph, edge_order(scores), n)
    where = {"model": "small", "variant": "", "step": step, "tokens": 7, "task": "ioi"}
    how = {"curve": {n: 0.9}, "m_model": m_model, "metric": "logit_diff"}
    return published_record(circuit, scores, **how, **where)


def published_of(*records):
    names = ("model", "variant", "step", "tokens", "task", "metric", "unit")
    names += ("n_requested", "n_edges", "n_nodes", "n_edges_total")
    rows = [
        {name: getattr(one, name) for name in names} | {"value": one.m_model[0], "f_raw": 0.9}
        for one in records
    ]
    return PUBLISHED.cast(pd.DataFrame(rows).assign(selection_jaccard=1.0))


def agreement(own, other, **changes):
    given = {
        "circuit_summary": circuit_tables(own, **ORDER).circuit_summary,
        "published": published_of(*other),
    } | changes
    return agreement_table(own, other, **given, **ORDER)


def test_the_same_circuit_agrees_in_everything():
    found = agreement([record(N, overlap=FLOOR)], [theirs()])
    AGREEMENT.check(found, where="here")
    row = found.iloc[0]
    for name in ("jaccard", "jaccard_matched"):
        assert row[f"edge_{name}"] == row[f"node_{name}"] == 1.0
    assert row["n_edges"] == row["n_edges_published"]
    assert row["n_nodes"] == row["n_nodes_published"]
    assert not row["edge_differs"]
    assert row["rank_correlation"] == pytest.approx(1.0)
    assert (row["m_model"], row["m_model_published"]) == (1.0, 1.2)
    assert (row["f_raw"], row["f_raw_published"]) == (1.0, 0.9)
    assert row["tokens"] == 800


def test_circuits_of_other_scores_differ_beyond_the_noise_floor():
    row = agreement([record(N, overlap=FLOOR)], [theirs(noise=20.0)]).iloc[0]
    assert row["edge_jaccard_matched"] < row["edge_floor_low"] == pytest.approx(0.6, abs=0.03)
    assert row["edge_differs"]
    assert row["edge_floor_median"] == pytest.approx(0.8)
    random = RandomCircuits(GRAPH, how="greedy", largest=2 * N)
    one, other = (
        cut(GRAPH, edge_order(EdgeScores(GRAPH, values)), SIZE).n_edges
        for values in (record(N).scores, theirs(noise=20.0).scores.astype(float))
    )
    chance = random.expected(Level.EDGE, one, other)
    assert row["edge_jaccard_chance"] == pytest.approx(chance, abs=0.02)


def test_another_size_of_the_same_ranking_agrees_at_equal_size():
    row = agreement([record(N, overlap=FLOOR)], [theirs(n=40)]).iloc[0]
    assert row["edge_jaccard"] < 0.7
    assert row["edge_jaccard_matched"] == 1.0
    assert row["size_matched"] == SIZE


def test_without_splits_nothing_is_claimed():
    row = agreement([record(N)], [theirs(noise=20.0)]).iloc[0]
    assert pd.isna(row["edge_differs"])
    assert np.isnan(row["edge_floor_low"])
    assert row["edge_jaccard_matched"] < 1


def test_where_this_run_has_no_circuit_there_is_no_overlap():
    own = record(N, status="no_behaviour", n_requested=None, m_circuit=None)
    row = agreement([own], [theirs()]).iloc[0]
    assert row["status"] == "no_behaviour"
    assert np.isnan(row["edge_jaccard"])
    assert np.isnan(row["edge_jaccard_matched"])
    assert row["n_edges_published"] > 0


def test_a_checkpoint_that_the_audit_leaves_out_has_no_overlap():
    own = [record(N, overlap=FLOOR)]
    summary = circuit_tables(own, **ORDER).circuit_summary.assign(
        status="duplicate", m_model=np.nan
    )
    summary["n_edges"] = pd.array([pd.NA], dtype="Int32")
    row = agreement(own, [theirs()], circuit_summary=summary).iloc[0]
    assert np.isnan([row["edge_jaccard"], row["edge_jaccard_matched"], row["m_model"]]).all()
    assert pd.isna(row["edge_differs"])


def test_only_steps_of_both_have_a_row_and_a_metric_alone_has_no_overlap():
    own = [record(N, overlap=FLOOR, step=step) for step in (8, 16)]
    other = [theirs(step=step) for step in (8, 16, 32)]
    published = published_of(*other)
    published.loc[1, ["n_requested", "n_edges", "n_nodes"]] = pd.NA
    summary = circuit_tables(own, **ORDER).circuit_summary
    given = {"circuit_summary": summary, "published": published}
    found = agreement_table(own[:1], other[:1], **given, **ORDER)
    assert found["step"].tolist() == [8, 16]
    assert found["edge_jaccard"].notna().tolist() == [True, False]
    assert found["m_model_published"].tolist() == [1.2, 1.2]


def test_a_metric_of_another_kind_is_not_compared():
    other = theirs()
    published = published_of(other).assign(metric="prob_diff")
    row = agreement([record(N)], [other], published=published).iloc[0]
    assert np.isnan(row["m_model_published"])
    assert row["n_edges_published"] == other.n_edges


def test_graphs_of_different_shapes_are_refused():
    graph = Graph(2, 3)
    values = np.random.default_rng(0).exponential(size=graph.exists.shape)
    other = theirs(graph=graph, values=values)
    with pytest.raises(ArtifactError, match=r"n_layers=2, n_heads=3.*n_layers=3, n_heads=2"):
        agreement([record(N)], [other])


def test_without_a_step_in_common_the_table_is_empty():
    summary, published = CIRCUIT_SUMMARY.empty(), published_of(theirs())
    found = agreement_table([], [], circuit_summary=summary, published=published, **ORDER)
    AGREEMENT.check(found, where="here")
    assert found.empty
