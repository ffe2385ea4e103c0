import pytest
import torch

from circuitlapse.circuits.attribution.edge_scores import interpolated_line
from circuitlapse.circuits.attribution.interpolation import (
    Point,
    activation_scores,
    input_scores,
)
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import AUTOMATIC


@pytest.fixture(scope="module")
def line(random_model, random_pairs):
    runs = cache_activations(random_model, random_pairs)
    how = {"metric": "logit_diff", "ablation": "corrupted", "limits": AUTOMATIC}
    return interpolated_line(random_model, random_pairs, runs, **how)


def test_scores_along_a_line_are_the_weighted_mean_of_those_at_its_points(random_model, line):
    points = (Point(0.0, 0.5), Point(0.3, 2.0), Point(0.9))
    together = input_scores(random_model, line, points=points, runs_at_once=2)
    apart = [input_scores(random_model, line, points=[one], runs_at_once=1) for one in points]
    expected = sum(one.weight * scores for one, scores in zip(points, apart, strict=True)) / 3.5
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_at_the_clean_end_every_interpolation_is_the_clean_run(random_model, line, pooled):
    """Nothing is replaced by anything else there, so all methods give the scores of `eap`."""
    how = {"points": [Point(1.0)], "runs_at_once": 1}
    by_group = activation_scores(random_model, line, pooled=pooled, **how)
    expected = input_scores(random_model, line, **how)
    if pooled:  # edges into what a run replaces get no gradient from that run
        assert by_group.abs().sum() < expected.abs().sum()
        by_group, expected = by_group[..., -1], expected[..., -1]
    torch.testing.assert_close(by_group, expected, rtol=1e-4, atol=1e-6)


def test_scores_of_batches_add_up_to_those_of_all_prompts(random_model, line):
    how = {"points": [Point(0.25), Point(0.75)], "runs_at_once": 2}
    parts = [input_scores(random_model, line.batch(*ends), **how) for ends in ((0, 4), (4, 9))]
    whole = input_scores(random_model, line, **how)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)
