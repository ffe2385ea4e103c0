import dataclasses

import numpy as np
import pytest

from circuitlapse.circuits.discovery import discover_circuit, record_of
from circuitlapse.models.activations import cache_activations
from circuitlapse.settings.analysis import Bootstrap, Circuits

SETTINGS = Circuits(
    ig_steps=4,
    max_fraction=1.0,
    grid_ratio=2.0,
    refine_points=2,
    random_circuits=2,
    noise_floor=False,
)
HOW = {"metric": "logit_diff", "settings": SETTINGS, "bootstrap": Bootstrap(samples=200, seed=0)}


@pytest.fixture(scope="module")
def oracle_discovery(oracle):
    """A random model does no task; ask it for what it prefers on each clean prompt."""
    runs = cache_activations(oracle.model, oracle.pairs)
    gain = runs.clean.logits_end - runs.corrupted.logits_end
    likes = runs.clean.logits_end - runs.clean.logits_end.mean(1, keepdim=True)
    best, worst = (gain + likes).argmax(1), (gain + likes).argmin(1)
    pairs = dataclasses.replace(
        oracle.pairs, correct=[[i] for i in best.tolist()], wrong=[[i] for i in worst.tolist()]
    )
    return pairs, discover_circuit(oracle.model, pairs, activations=runs, **HOW)


def test_the_circuit_found_is_faithful_and_the_whole_model_is_perfectly_so(oracle_discovery):
    _, found = oracle_discovery
    assert found.status in {"ok", "overshoot"}
    assert found.m_circuit.mean() / found.m_model.mean() >= 0.8
    assert found.curve.sizes[-1] == found.scores.graph.n_edges
    np.testing.assert_allclose(found.curve.metric[-1], found.m_model, rtol=1e-4, atol=1e-4)
    assert found.circuit.n_edges == found.curve.n_edges[found.curve.sizes == found.n_requested]


def test_a_model_that_does_the_opposite_has_no_circuit(oracle, oracle_discovery):
    pairs, _ = oracle_discovery
    opposite = dataclasses.replace(pairs, correct=pairs.wrong, wrong=pairs.correct)
    runs = cache_activations(oracle.model, opposite)
    found = discover_circuit(oracle.model, opposite, activations=runs, **HOW)
    assert found.status == "no_behaviour"
    assert found.n_requested is None
    assert found.circuit.n_edges == 0
    assert np.isnan(found.m_circuit).all()
    record = named(found)
    assert record.m_circuit is None
    assert np.isnan(record.f_raw_low)


def test_a_threshold_that_corrupted_prompts_reach_leaves_nothing_to_find(oracle, oracle_discovery):
    pairs, found = oracle_discovery
    left = found.m_corrupted.mean() / found.m_model.mean()
    runs = cache_activations(oracle.model, pairs)
    assert left > 0.01
    for threshold, expected in ((0.99 * left, "no_behaviour"), (1.01 * left, found.status)):
        how = HOW | {"settings": SETTINGS.model_copy(update={"threshold": threshold})}
        again = discover_circuit(oracle.model, pairs, activations=runs, **how)
        assert again.status == expected


def test_the_record_carries_ranks_and_intervals(oracle_discovery):
    _, found = oracle_discovery
    record = named(found)
    first, second = found.order[:2]
    assert (record.order[tuple(first)], record.order[tuple(second)]) == (0, 1)
    assert (record.order >= 0).sum() == found.scores.graph.n_edges
    assert record.m_model_low <= record.m_model.mean() <= record.m_model_high
    assert record.f_raw_low <= record.m_circuit.mean() / record.m_model.mean() <= record.f_raw_high


def named(found):
    where = {"model": "m", "variant": "seed1", "step": 1, "tokens": 10}
    return record_of(found, task="t", **HOW, **where)
