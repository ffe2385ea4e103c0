from __future__ import annotations

import numpy as np
import pytest

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import SCHEMAS
from circuitlapse.tables.circuits import circuit_tables
from tests.records import HOW, NO_RANKINGS, RANKINGS, no_halves, with_held_out

ORDER = {"models": ["small", "large"], "tasks": ["sva", "ioi"]}


def make_record(*, m_model=(1.0, 3.0), **changes: object) -> CircuitRecord:
    """One layer, one head, seven edges; the circuit is input -> a0.h0<k>, a0.h0 -> logits."""
    in_circuit = np.zeros((3, 5), dtype=bool)
    in_circuit[0, 1] = in_circuit[1, 4] = True
    scores = np.full((3, 5), np.nan)
    scores[0], scores[1:, 4] = 0.5, 0.25
    order = np.full((3, 5), -1)
    order[1, 4], order[0, 1], order[0, 3] = 0, 1, 2
    values = {
        "model": "small", "variant": "", "step": 8, "tokens": 800, "task": "ioi",
        "metric": "logit_diff", "method": "eap_ig_inputs", "ig_steps": 5,
        "sources": ("input", "a0.h0", "m0"),
        "targets": ("a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "m0", "logits"),
        "scores": scores, "order": order, "in_circuit": in_circuit,
        "status": "ok", "n_requested": 3, "m_model": np.array(m_model),
        "m_model_low": 1.5, "m_model_high": 2.5, "m_corrupted": np.array([-2.0, -1.0]),
        "m_circuit": np.array([1.0, 2.5]), "f_raw_low": 0.7, "f_raw_high": 1.0,
        "curve_n_requested": np.array([1, 3]), "curve_n_edges": np.array([0, 2]),
        "curve_metric": np.array([[0.5, -0.5], [1.0, 2.5]]), **HOW, **RANKINGS,
    }  # fmt: skip
    values |= changes
    n_sources, n_targets = np.shape(values["scores"])
    return CircuitRecord(
        **with_held_out({**no_halves(sources=n_sources, targets=n_targets), **values})
    )


def without_behaviour(**changes: object) -> CircuitRecord:
    nothing = np.zeros((3, 5), dtype=bool)
    empty = {"curve_n_requested": np.zeros(0, int), "curve_n_edges": np.zeros(0, int)}
    return make_record(
        status="no_behaviour", n_requested=None, m_circuit=None, f_raw_low=np.nan,
        f_raw_high=np.nan, in_circuit=nothing, curve_metric=np.zeros((0, 2)), **empty,
        **NO_RANKINGS, **changes,
    )  # fmt: skip


def test_the_summary_of_one_circuit_is_what_one_computes_by_hand():
    row = circuit_tables([make_record()], **ORDER).circuit_summary.iloc[0]
    assert (row.n_requested, row.n_edges, row.n_nodes, row.n_edges_total) == (3, 2, 3, 7)
    assert row.edge_fraction == pytest.approx(2 / 7)
    assert (row.m_model, row.m_corrupted, row.m_circuit) == (2.0, -1.5, 1.75)
    assert row.f_raw == pytest.approx(1.75 / 2)
    assert row.f_norm == pytest.approx((1.75 + 1.5) / (2 + 1.5))
    assert (row.f_raw_low, row.f_raw_high, row.unit, row.n) == (0.7, 1.0, "logits", 2)


def test_the_curve_has_a_row_per_size():
    curve = circuit_tables([make_record()], **ORDER).faithfulness_curve
    assert list(curve["n_requested"]) == [1, 3]
    assert list(curve["n_edges"]) == [0, 2]
    assert list(curve["m_circuit"]) == [0.0, 1.75]
    assert list(curve["f_raw"]) == [0.0, 0.875]
    assert list(curve["f_norm"]) == pytest.approx([1.5 / 3.5, 3.25 / 3.5])


def test_the_edges_of_the_circuit_come_in_greedy_order_and_no_others():
    edges = circuit_tables([make_record()], **ORDER).circuit_edges
    columns = ["source", "target", "port", "score", "order", "in_circuit"]
    assert list(edges[columns].itertuples(index=False, name=None)) == [
        ("a0.h0", "logits", "", 0.25, 0, True),
        ("input", "a0.h0", "k", 0.5, 1, True),
    ]


@pytest.mark.filterwarnings("error")
def test_all_tables_keep_their_schemas_when_some_circuits_are_missing():
    records = [make_record(), without_behaviour(step=2), without_behaviour(step=1, task="sva")]
    for some in (records, records[1:]):
        tables = circuit_tables(some, **ORDER)
        for name, table in tables._asdict().items():
            SCHEMAS[name].check(table, where="test")


def test_circuits_are_in_the_order_of_the_configuration():
    records = [
        make_record(model=model, task=task, step=step)
        for step in (10, 2) for model in ("large", "small") for task in ("ioi", "sva")
    ]  # fmt: skip
    tables = circuit_tables(iter(records), **ORDER)
    for table in tables:
        places = list(dict.fromkeys(table[["model", "task", "step"]].itertuples(index=False)))
        assert [tuple(place) for place in places] == [
            (m, t, s) for m in ORDER["models"] for t in ORDER["tasks"] for s in (2, 10)
        ]
    assert list(tables.circuit_edges["order"][:2]) == [0, 1]


def test_without_behaviour_circuit_numbers_are_missing_and_not_zero():
    summary, curve, edges, rankings, areas = circuit_tables([without_behaviour()], **ORDER)
    numbers = ["n_requested", "n_edges", "n_nodes", "edge_fraction", "m_circuit", "f_raw"]
    assert summary[[*numbers, "f_raw_low", "f_raw_high", "f_norm"]].isna().all(axis=None)
    assert summary["m_model"].item() == 2.0
    assert summary["n_edges_total"].item() == 7
    assert len(curve) == len(edges) == len(rankings) == len(areas) == 0


def test_f_norm_is_undefined_where_corruption_changes_nothing():
    summary = circuit_tables(
        [make_record(m_corrupted=np.array([3.0, 1.0]))], **ORDER
    ).circuit_summary
    assert summary["f_norm"].isna().item()
    assert summary["f_raw"].item() == 0.875


def late_case() -> list[CircuitRecord]:
    """Late steps are 5, 8 and 10, their mean metric 2, so the limit is 0.1."""
    metric = {1: 0.09, 4: 0.11, 5: 1.0, 8: 2.0, 10: 3.0}
    return [make_record(step=step, m_model=(value, value)) for step, value in metric.items()]


def test_below_five_percent_of_the_late_mean_there_is_no_behaviour():
    summary, curve, edges, rankings, areas = circuit_tables(late_case(), **ORDER)
    early = rankings["step"] == 1
    assert rankings.loc[early, "f_norm"].isna().all()
    assert rankings.loc[~early, "f_norm"].notna().all()
    assert list(areas["cpr"].isna()) == list(areas["step"] == 1)
    assert list(summary["status"]) == ["no_behaviour", "ok", "ok", "ok", "ok"]
    assert list(summary["f_raw"].isna()) == [True, False, False, False, False]
    assert list(summary["n_edges"].isna()) == [True, False, False, False, False]
    assert list(summary["m_model"]) == [0.09, 0.11, 1.0, 2.0, 3.0]
    early = curve[curve["step"] == 1]
    assert early["f_raw"].isna().all()
    assert list(early["m_circuit"]) == [0.0, 1.75]
    assert curve.loc[curve["step"] > 1, "f_raw"].notna().all()
    assert set(edges["step"]) == {4, 5, 8, 10}


def test_a_circuit_that_comes_twice_is_refused():
    with pytest.raises(ArtifactError, match=r"circuit_summary: .*step=8.* more than once"):
        circuit_tables([make_record(), make_record()], **ORDER)


def test_areas_are_those_under_the_curve_of_each_ranking():
    """F_norm of the signed ranking is 3.25/3.5 at half of the edges and 1 at all of them."""
    areas = circuit_tables([make_record()], **ORDER).ranking_area.set_index("ranking")
    assert areas["seed"].isna().to_dict() == {"signed": True, "random": False}
    half, whole = 3.25 / 3.5, 3.5 / 3.5
    assert areas.loc["signed", "cpr"] == pytest.approx(0.5 * (half + whole) / 2)
    assert areas.loc["signed", "cmd"] == pytest.approx(0.5 * (1 - half) / 2)
    assert areas.loc["random", "cpr"] == pytest.approx(0.5 * whole / 2)


def test_held_out_numbers_are_over_the_metric_of_the_model_and_missing_without_a_circuit():
    given = {
        "m_held_out": np.array([0.5, 1.5]),
        "f_raw_held_out_low": 0.4,
        "f_raw_held_out_high": 0.6,
        "held_out_status": "ok",
        "curve_held_out": np.array([[0.0, -1.0], [1.0, 2.0]]),
        "group_of_prompt": np.array([0, 0]),
    }
    tables = circuit_tables([make_record(**given)], models=["small"], tasks=["ioi"])
    (row,) = tables.circuit_summary.itertuples()
    assert (row.f_raw_held_out, row.f_raw_held_out_low, row.f_raw_held_out_high) == (0.5, 0.4, 0.6)
    assert (row.held_out_status, row.n) == ("ok", 1)
    assert (row.faithfulness, row.f_raw_empty) == ("raw", -0.75)  # -1.5 on corrupted prompts of 2
    assert tables.faithfulness_curve["f_raw_held_out"].tolist() == [-0.25, 0.75]
    by_score = tables.ranking_curve["ranking"] != "random"
    assert tables.ranking_curve["held_out"].tolist() == (~by_score).tolist()
    gone = make_record(**given, status="no_behaviour", m_circuit=None, n_requested=None)
    tables = circuit_tables([gone], models=["small"], tasks=["ioi"])
    (row,) = tables.circuit_summary.itertuples()
    assert np.isnan([row.f_raw_held_out, row.f_raw_held_out_low, row.f_raw_held_out_high]).all()
    assert row.held_out_status == "no_behaviour"


def test_p_values_are_corrected_for_the_number_of_circuits_that_exist():
    """Three circuits, of which one belongs to a model that does not do the task."""
    given = {"win_share": 0.1, "m_complement": np.array([-1.0, 1.0]), "certificate_status": "ok"}
    p = ((1, 0.01, 0.3, "ok"), (2, 0.04, 0.2, "ok"), (3, 0.02, 0.1, "no_behaviour"))
    records = [
        make_record(step=step, p_equivalence=one, p_independence=two, status=status, **given)
        for step, one, two, status in p
    ]
    summary = circuit_tables(records, models=["small"], tasks=["ioi"]).circuit_summary
    np.testing.assert_allclose(summary["q_equivalence"], [0.02, 0.04, np.nan])
    np.testing.assert_allclose(summary["q_independence"], [0.3, 0.3, np.nan])
    assert summary["certificate_status"].tolist() == ["ok", "ok", "no_behaviour"]
    (m_model, m_corrupted) = summary[["m_model", "m_corrupted"]].to_numpy()[0]
    assert summary["f_complement"][0] == pytest.approx(-m_corrupted / (m_model - m_corrupted))
    assert np.isnan(summary.loc[2, ["win_share", "f_complement", "p_equivalence"]].tolist()).all()


def test_the_edge_that_matters_least_says_whether_all_are_needed():
    knocked = {f"knockout_{name}": np.zeros(4, int) for name in ("half", "source", "target")}
    p = np.array([0.01, 0.01, 0.03, 0.3])
    record = make_record(**knocked, knockout_effect=1 - p, knockout_p=p)
    (row,) = circuit_tables([record], models=["small"], tasks=["ioi"]).circuit_summary.itertuples()
    assert (row.edges_tested, row.edges_needed, row.p_minimality) == (4, 3, 0.3)
    untested = circuit_tables([make_record()], models=["small"], tasks=["ioi"]).circuit_summary
    assert untested[["edges_tested", "edges_needed", "p_minimality"]].isna().all(axis=None)
