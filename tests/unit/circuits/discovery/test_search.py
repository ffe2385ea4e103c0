"""A random model that is asked for what it prefers, so that it does the task."""

from dataclasses import replace

import numpy as np
import pytest

from circuitlapse import Circuit
from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.selection import circuit_sizes
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.graph import Graph
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.types import Faithfulness
from circuitlapse.types.status import Status

SETTINGS = Circuits(method="eap", max_fraction=1.0, grid_ratio=3.0, refine_points=1)


@pytest.fixture(scope="module")
def search(random_model, random_pairs):
    runs = cache_activations(random_model, random_pairs)
    gain = 1.5 * runs.clean.logits_end - runs.corrupted.logits_end
    best, worst = ([[token] for token in end(1).tolist()] for end in (gain.argmax, gain.argmin))
    pairs = replace(random_pairs, correct=best, wrong=worst)
    limits = Limits(batch_size=4)
    return Search(random_model, pairs, runs, "logit_diff", SETTINGS, Bootstrap(seed=0), limits)


def test_metrics_are_those_of_the_activations(search):
    for found, run in (
        (search.m_model, search.activations.clean),
        (search.m_corrupted, search.activations.corrupted),
    ):
        expected = per_prompt_metric(run.logits_end, search.pairs, metric="logit_diff")
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
    assert search.does_the_task


def test_the_whole_model_and_the_empty_circuit_are_the_clean_and_the_corrupted_run(search):
    full, empty = search.evaluate([Circuit.full(Graph(3, 2)), Circuit.empty(Graph(3, 2))])
    np.testing.assert_allclose(full, search.m_model, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(empty, search.m_corrupted, rtol=1e-4, atol=1e-4)


def test_a_search_on_some_prompts_sees_only_these(search):
    rows = np.array([6, 1, 3])
    part = search.on(rows)
    np.testing.assert_array_equal(part.m_model, search.m_model[rows])
    assert part.pairs.correct == [search.pairs.correct[row] for row in rows]
    full = [Circuit.full(Graph(3, 2))]
    expected = search.evaluate(full)[:, rows]
    np.testing.assert_allclose(part.evaluate(full), expected, rtol=1e-4, atol=1e-4)


def test_the_circuit_is_the_first_of_its_order_and_on_its_curve(search):
    scores = search.scores()
    found = search.small_circuit(scores)
    size = found.n_requested
    assert found.status in {Status.OK, Status.OVERSHOOT}
    mask = np.zeros_like(scores.graph.exists)
    mask[tuple(found.order[:size].T)] = True
    assert not (found.circuit.mask & ~mask).any()
    (at,) = np.flatnonzero(found.curve.sizes == size)
    assert found.curve.faithfulness[at] >= SETTINGS.threshold
    assert found.curve.n_edges[at] == found.circuit.n_edges


def test_without_the_task_there_is_an_order_but_no_circuit(search):
    pairs = replace(search.pairs, correct=search.pairs.wrong, wrong=search.pairs.correct)
    opposite = replace(search, pairs=pairs)
    assert not opposite.does_the_task
    found = opposite.small_circuit(search.scores())
    assert (found.status, found.n_requested) == (Status.NO_BEHAVIOUR, None)
    assert found.circuit.n_edges == 0
    assert len(found.order) == Graph(3, 2).n_edges
    assert found.curve.metric.shape == (0, len(pairs))


def test_with_a_normalised_threshold_a_circuit_without_edges_has_no_faithfulness(search):
    """Even where corrupted prompts keep most of the metric, as they do here once it is shifted."""
    settings = SETTINGS.model_copy(update={"faithfulness": Faithfulness.NORMALISED})
    normalised = replace(search, settings=settings)
    found = normalised.small_circuit(normalised.scores())
    (at,) = np.flatnonzero(found.curve.sizes == found.n_requested)
    span = search.m_model.mean() - search.m_corrupted.mean()
    f_norm = (found.curve.metric[at].mean() - search.m_corrupted.mean()) / span
    assert found.curve.faithfulness[at] == pytest.approx(f_norm)
    assert f_norm >= SETTINGS.threshold
    assert found.status in {Status.OK, Status.OVERSHOOT}


@pytest.mark.parametrize(("faithfulness", "does"), [("raw", False), ("normalised", True)])
def test_what_corrupted_prompts_keep_matters_to_a_raw_threshold_only(search, faithfulness, does):
    how = {"faithfulness": Faithfulness(faithfulness), "threshold": 0.05}
    kept = replace(search, settings=SETTINGS.model_copy(update=how))
    kept.__dict__["_metrics"] = (search.m_model, 0.1 * search.m_model)
    assert kept.does_the_task is does


@pytest.mark.parametrize("eliminated", [False, True])
def test_a_search_for_nodes_finds_all_edges_among_some_nodes(search, eliminated):
    how = {"level": "node", "eliminate": eliminated}
    asked = replace(search, settings=SETTINGS.model_copy(update=how))
    scores = asked.scores()
    found, graph = asked.small_circuit(scores), scores.graph
    assert found.status == Status.OK
    sizes = circuit_sizes(scores, how="nodes")
    assert set(found.curve.sizes) <= set(sizes)
    assert found.n_requested in found.curve.sizes
    touched = np.append(found.circuit.mask.any(1), True)  # and the logits
    among = graph.exists & touched[:-1, None] & touched[graph.target_nodes]
    np.testing.assert_array_equal(found.circuit.mask, among)
    kept = found.m_circuit.mean() / asked.m_model.mean()
    assert kept >= SETTINGS.threshold
    if not eliminated:
        assert found.circuit.n_edges == found.n_requested < graph.n_edges
