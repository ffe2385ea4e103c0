from dataclasses import replace

import numpy as np
import pytest

from circuitlapse import Circuit, EdgeScores
from circuitlapse.circuits.discovery.certificates import Certificates
from circuitlapse.circuits.discovery.found import Discovery, record_of
from circuitlapse.circuits.discovery.held_out import HeldOut
from circuitlapse.circuits.discovery.minimality import Knockouts
from circuitlapse.circuits.discovery.split_half import SplitHalf
from circuitlapse.circuits.discovery.splits import Splits
from circuitlapse.circuits.faithfulness import Curve
from circuitlapse.circuits.rankings import RankingCurves
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.models.graph import Graph
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import mean_interval, ratio_interval
from circuitlapse.types.status import CertificateStatus, HeldOutStatus, Status

GRAPH = Graph(2, 1)
BOOTSTRAP = Bootstrap(samples=100, seed=3)
HOW = {"metric": "logit_diff", "settings": Circuits(ig_steps=7), "bootstrap": BOOTSTRAP}
WHERE = {"model": "m", "variant": "", "step": 4, "tokens": 40}


@pytest.fixture
def found():
    """Five prompts; a circuit of four edges, of which pruning may drop some."""
    draw = np.random.default_rng(1)
    values = np.where(GRAPH.exists, draw.normal(size=GRAPH.exists.shape), np.nan)
    scores = EdgeScores(GRAPH, values)
    order = edge_order(scores)
    circuit = cut(GRAPH, order, 4)
    m_model = draw.uniform(2, 3, size=5)
    metric = m_model * np.array([[0.5], [0.9], [1.0]])
    edges = np.array([cut(GRAPH, order, size).n_edges for size in (2, 4, 8)])
    return Discovery(
        scores=scores,
        order=order,
        status=Status.OK,
        n_requested=4,
        circuit=circuit,
        curve=Curve(np.array([2, 4, 8]), edges, metric, m_model),
        m_model=m_model,
        m_corrupted=np.zeros(5),
        m_circuit=metric[1],
        n_eliminated=None,
        groups=np.arange(5),
        rankings=RankingCurves.empty(5),
        split_half=SplitHalf.none(GRAPH, 5),
        held_out=HeldOut(HeldOutStatus.OK, 0.8 * m_model, 0.8 * metric, None),
        certificates=Certificates(CertificateStatus.OK, 0.1 * m_model, Knockouts.none()),
        splits=Splits.none(),
    )


def test_the_order_is_kept_as_the_rank_of_every_edge(found):
    record = record_of(found, task="t", **HOW, **WHERE)
    ranks = record.order[tuple(found.order.T)]
    np.testing.assert_array_equal(ranks, np.arange(GRAPH.n_edges))
    assert (record.order[~GRAPH.exists] == -1).all()
    np.testing.assert_array_equal(record.in_circuit, found.circuit.mask)


def test_the_record_says_where_and_how_the_circuit_was_found_in_plain_words(found):
    record = record_of(found, task="t", **HOW, **WHERE)
    assert {name: getattr(record, name) for name in WHERE} == WHERE
    names = (record.method, record.ig_rule, record.selection, record.status)
    assert names == ("eap_ig_inputs", "midpoint", "greedy", "ok")
    assert {type(name) for name in names} == {str}
    assert (record.ig_steps, record.threshold) == (7, 0.8)


def test_intervals_are_those_of_the_bootstrap_settings(found):
    record = record_of(found, task="t", **HOW, **WHERE)
    ends = (record.m_model_low, record.m_model_high)
    assert ends == mean_interval(found.m_model, BOOTSTRAP)
    ends = (record.f_raw_low, record.f_raw_high)
    assert ends == ratio_interval(found.m_circuit, found.m_model, BOOTSTRAP)
    assert record.f_raw_low == pytest.approx(0.9)  # the same share on every prompt


def test_certificates_are_about_the_circuits_of_the_halves(found):
    record = record_of(found, task="t", **HOW, **WHERE)
    assert (record.certificate_status, record.win_share) == ("ok", 0.0)
    assert record.p_equivalence == pytest.approx(0.6**5 + 0.4**5)
    assert record.f_complement_low == pytest.approx(0.1)  # the same share on every prompt
    np.testing.assert_array_equal(record.m_complement, 0.1 * found.m_model)
    nothing = Certificates(CertificateStatus.OFF, np.full(5, np.nan), Knockouts.none())
    off = replace(found, certificates=nothing)
    record = record_of(off, task="t", **HOW, **WHERE)
    assert record.certificate_status == "off"
    assert np.isnan([record.win_share, record.p_equivalence, record.p_independence]).all()


def test_without_a_circuit_its_metric_is_missing_and_its_intervals_are_nan(found):
    nothing = {"n_requested": None, "circuit": Circuit.empty(GRAPH), "status": Status.NO_BEHAVIOUR}
    record = record_of(replace(found, **nothing), task="t", **HOW, **WHERE)
    assert record.m_circuit is None
    assert record.n_edges == 0
    ends = (record.f_raw_low, record.f_raw_high, record.n_edges_low, record.n_edges_high)
    assert np.isnan(ends).all()
    assert np.isfinite(record.m_model_low)


def test_scores_of_halves_are_kept_in_single_precision(found):
    shape = (2, *GRAPH.exists.shape)
    halves = SplitHalf(
        np.array([0, 1, 0, 1, 0]),
        seed=3,
        scores=np.full(shape, 1 / 3),
        in_circuit=np.zeros(shape, dtype=bool),
        status=[Status.NOT_REACHED, Status.OK],
    )
    record = record_of(replace(found, split_half=halves), task="t", **HOW, **WHERE)
    assert (record.half_scores.dtype, record.half_of_prompt.dtype) == (np.float32, np.int8)
    assert record.half_status == ("not_reached", "ok")
    assert record.half_seed == 3


def test_every_interval_resamples_groups(found):
    groups = np.array([0, 0, 1, 1, 2])
    grouped = replace(found, groups=groups)
    record = record_of(grouped, task="t", **HOW, **WHERE)
    ends = (record.m_model_low, record.m_model_high)
    assert ends == mean_interval(found.m_model, BOOTSTRAP, groups)
    ends = (record.f_raw_low, record.f_raw_high)
    assert ends == ratio_interval(found.m_circuit, found.m_model, BOOTSTRAP, groups)
    ends = (record.f_raw_held_out_low, record.f_raw_held_out_high)
    assert ends == ratio_interval(found.held_out.metric, found.m_model, BOOTSTRAP, groups)
    assert record.n_groups == 3
    np.testing.assert_array_equal(record.group_of_prompt, groups)
