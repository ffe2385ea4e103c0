import pytest
import torch

from circuitlapse.circuits.attribution.edge_scores import interpolated_line
from circuitlapse.circuits.attribution.interpolation import (
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


def test_scores_along_a_line_are_the_mean_of_those_at_its_points(random_model, line):
    fractions = (0.0, 0.3, 0.9)
    together = input_scores(random_model, line, fractions=fractions, runs_at_once=2)
    apart = [input_scores(random_model, line, fractions=[one], runs_at_once=1) for one in fractions]
    expected = torch.stack(apart).mean(0)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_at_the_clean_end_every_interpolation_is_the_clean_run(random_model, line, pooled):
    """Nothing is replaced by anything else there, so all methods give the scores of `eap`."""
    how = {"fractions": [1.0], "runs_at_once": 1}
    by_group = activation_scores(random_model, line, pooled=pooled, **how)
    expected = input_scores(random_model, line, **how)
    if pooled:  # edges into what a run replaces get no gradient from that run
        assert by_group.abs().sum() < expected.abs().sum()
        by_group, expected = by_group[:, -1], expected[:, -1]
    torch.testing.assert_close(by_group, expected, rtol=1e-4, atol=1e-6)


def test_scores_of_batches_add_up_to_those_of_all_prompts(random_model, line):
    how = {"fractions": [0.25, 0.75], "runs_at_once": 2}
    parts = [input_scores(random_model, line.batch(*ends), **how) for ends in ((0, 4), (4, 9))]
    whole = input_scores(random_model, line, **how)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)
