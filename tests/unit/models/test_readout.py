import pytest
import torch

from circuitlapse.models.activations import cache_activations
from circuitlapse.models.metrics import ResidualMetric, per_prompt_metric


@pytest.mark.parametrize("metric", ["logit_diff", "prob_diff"])
def test_the_metric_is_that_of_all_logits(random_model, random_pairs, metric):
    run = cache_activations(random_model, random_pairs).corrupted
    metric_of = ResidualMetric(random_model, random_pairs, metric=metric)
    expected = per_prompt_metric(run.logits_end, random_pairs, metric=metric)
    torch.testing.assert_close(metric_of(run.resid_end), expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_metric_is_refused(random_model, random_pairs):
    resid = torch.zeros(len(random_pairs), 32)
    with pytest.raises(Exception, match="did you mean 'logit_diff'"):
        ResidualMetric(random_model, random_pairs, metric="logit_dif")(resid)
