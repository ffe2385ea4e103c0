from functools import partial

import numpy as np
import pytest

from circuitlapse.circuits.attribution.edge_scores import (
    AT_ONCE,
    exact_scores,
    interpolated_line,
    summed_scores,
)
from circuitlapse.circuits.attribution.interpolation import Point, activation_scores, input_scores
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.graph import Graph

GRAPH = Graph(3, 2)


@pytest.mark.parametrize(("metric", "sign"), [("logit_diff", 1), ("kl_divergence", -1)])
def test_an_exact_score_is_what_the_metric_loses_without_the_edge(metric, sign):
    """A metric that adds up a weight per edge; more divergence is worse, so its sign turns."""
    weights = np.random.default_rng(0).normal(size=GRAPH.exists.shape)
    calls = []

    def evaluate(circuits):
        calls.append(len(circuits))
        return np.array([[weights[one.mask].sum(), weights[one.mask].sum()] for one in circuits])

    (scores,) = exact_scores(GRAPH, evaluate, np.full((1, 2), 0.5), metric=metric)
    np.testing.assert_allclose(scores[GRAPH.exists], sign * weights[GRAPH.exists])
    assert (scores[~GRAPH.exists] == 0).all()
    assert max(calls) <= AT_ONCE
    assert sum(calls) == 1 + GRAPH.n_edges


@pytest.mark.parametrize("scores", [input_scores, partial(activation_scores, pooled=False)])
def test_the_sum_weighs_all_prompts_alike_in_batches_of_any_size(
    random_model, random_pairs, scores
):
    """Nine prompts in batches of five and four: a prompt of the smaller one must not count more."""
    runs = cache_activations(random_model, random_pairs)
    how = {"metric": "logit_diff", "ablation": "corrupted", "limits": AUTOMATIC}
    line = interpolated_line(random_model, random_pairs, runs, **how)
    options = {"scores": scores, "points": [Point(0.5), Point(1.0)]}
    batched = summed_scores(random_model, line, limits=Limits(batch_size=5), **options)
    alone = [
        summed_scores(random_model, line.batch(row, row + 1), limits=AUTOMATIC, **options)
        for row in range(9)
    ]
    np.testing.assert_allclose(batched, np.sum(alone, axis=0), rtol=1e-4, atol=1e-5)


def test_a_smaller_batch_takes_as_many_runs_at_once(random_model, random_pairs, monkeypatch):
    """Nine prompts; memory for 15 runs of one prompt, and for what is kept of five prompts."""
    runs = cache_activations(random_model, random_pairs)
    how = {"metric": "logit_diff", "ablation": "corrupted", "limits": AUTOMATIC}
    line = interpolated_line(random_model, random_pairs, runs, **how)
    asked, room = [], iter((15, 5))
    monkeypatch.setattr(Limits, "prompts", lambda *_, device: next(room))

    def scores(model, part, *, points, runs_at_once):
        asked.append((len(part.objective.pairs), runs_at_once))
        return input_scores(model, part, points=points, runs_at_once=runs_at_once)

    points = [Point(0.2), Point(0.4), Point(0.6), Point(0.8)]
    summed_scores(random_model, line, scores=scores, points=points, limits=AUTOMATIC)
    assert asked == [(5, 3), (4, 3)]
