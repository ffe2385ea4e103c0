from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError, UnknownNameError
from tests.records import HOW, RANKINGS, no_halves, with_held_out

SOURCES = ("input", "a0.h0", "m0")
TARGETS = ("a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "m0", "logits")


def make_record(**changes: object) -> CircuitRecord:
    """One layer with one head, in parallel with its MLP: seven edges, two in the circuit."""
    in_circuit = np.zeros((3, 5), dtype=bool)
    in_circuit[0, 1] = in_circuit[1, 4] = True
    scores = np.full((3, 5), np.nan)
    scores[0], scores[1:, 4] = 0.5, 0.25
    values = {
        "model": "small", "variant": "", "step": 8, "tokens": 800, "task": "ioi",
        "metric": "logit_diff", "method": "eap", "ig_steps": 1, "sources": SOURCES,
        "targets": TARGETS, "scores": scores, "order": np.full((3, 5), -1),
        "in_circuit": in_circuit, "status": "ok", "n_requested": 3, "m_model": np.ones(2),
        "m_model_low": 0.5, "m_model_high": 1.5, "m_corrupted": np.zeros(2),
        "m_circuit": np.ones(2), "f_raw_low": 0.9, "f_raw_high": 1.1,
        "curve_n_requested": np.array([3]), "curve_n_edges": np.array([2]),
        "curve_metric": np.ones((1, 2)), **HOW, **RANKINGS,
        **no_halves(sources=3, targets=5),
    }  # fmt: skip
    return CircuitRecord(**with_held_out({**values, **changes}))


def test_a_circuit_of_two_edges_in_a_chain_has_three_nodes():
    record = make_record()
    assert (record.n_edges, record.n_nodes, record.n_edges_total) == (2, 3, 7)


def test_two_ports_of_one_head_count_as_one_node():
    in_circuit = np.zeros((3, 5), dtype=bool)
    in_circuit[0, 0] = in_circuit[0, 2] = in_circuit[1, 4] = True
    assert make_record(in_circuit=in_circuit).n_nodes == 3


def test_the_unit_follows_from_the_metric():
    assert make_record().unit == "logits"
    assert make_record(metric="prob_diff").unit == "probability"


@pytest.fixture
def as_users_run_it():
    """Outside of tests nobody checks annotated shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("field", ["scores", "m_circuit", "m_corrupted", "curve_metric"])
def test_an_array_of_another_shape_is_refused_by_name(field):
    with pytest.raises(ArtifactError, match=rf"small at step 8 for ioi: {field} has shape \(9,\)"):
        make_record(**{field: np.zeros(9)})


def test_only_a_model_without_behaviour_may_lack_a_circuit():
    assert make_record(status="no_behaviour", m_circuit=None, n_requested=None).m_circuit is None
    with pytest.raises(ArtifactError, match="status ok needs m_circuit"):
        make_record(m_circuit=None)


@pytest.mark.parametrize(
    ("field", "name", "hint"),
    [("metric", "logitdiff", "did you mean 'logit_diff'"), ("status", "fine", "unknown status")],
)
def test_a_name_outside_the_vocabulary_is_refused(field, name, hint):
    with pytest.raises(UnknownNameError, match=hint):
        make_record(**{field: name})
