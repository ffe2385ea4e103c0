import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from circuitlapse import PromptPairs
from circuitlapse.errors import UnknownNameError
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.metrics import (
    METRICS,
    ResidualMetric,
    answer_probability,
    behaviour,
    per_prompt_metric,
    rank_zero,
)
from circuitlapse.settings import suite
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import METRIC_FACTS, TASK_METRICS, Metric


@pytest.fixture
def pairs():
    tokens = torch.zeros(2, 1, dtype=torch.long)
    return PromptPairs(tokens, tokens, torch.tensor([0, 0]), [[0], [1, 2]], [[1], [0]])


LOGITS = torch.tensor([[3.0, 1.0, 0.0, -1.0], [0.0, 2.0, 4.0, 4.0]])


def test_logit_difference_is_mean_correct_minus_mean_wrong(pairs):
    assert per_prompt_metric(LOGITS, pairs, metric="logit_diff").tolist() == [2.0, 3.0]


def test_probability_difference_sums_over_answers(pairs):
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.3, 0.4, 0.2]]))
    values = per_prompt_metric(logits, pairs, metric="prob_diff")
    torch.testing.assert_close(values, torch.tensor([0.3, 0.6]))
    torch.testing.assert_close(answer_probability(logits, pairs), torch.tensor([0.7, 0.8]))


def test_a_uniform_model_over_all_years_is_just_below_zero_on_greater_than():
    years = list(range(100))
    tokens = torch.zeros(97, 1, dtype=torch.long)
    correct, wrong = [years[y + 1 :] for y in range(2, 99)], [years[: y + 1] for y in range(2, 99)]
    pairs = PromptPairs(tokens, tokens, tokens[:, 0], correct, wrong)
    value = per_prompt_metric(torch.zeros(97, 100), pairs, metric="prob_diff").mean()
    assert value.item() == pytest.approx(-0.02, abs=1e-6)


def test_a_tie_at_the_top_does_not_count_as_rank_zero(pairs):
    assert rank_zero(LOGITS, pairs).tolist() == [1.0, 0.0]
    assert rank_zero(LOGITS[:, :3], pairs).tolist() == [1.0, 1.0]


def test_the_metric_is_differentiable(pairs):
    logits = LOGITS.clone().requires_grad_(True)
    per_prompt_metric(logits, pairs, metric="logit_diff").sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1, -1, 0, 0], [-1, 0.5, 0.5, 0]]


def test_an_unknown_metric_names_the_known_ones(pairs):
    with pytest.raises(UnknownNameError, match=r"did you mean 'logit_diff'.*prob_diff"):
        per_prompt_metric(LOGITS, pairs, metric="logit_dif")


def test_probabilities_of_equal_logits_are_one_over_the_vocabulary(pairs):
    value = answer_probability(torch.zeros(2, 4), pairs)
    assert [math.isclose(v, w) for v, w in zip(value.tolist(), [0.5, 0.75], strict=True)]


def test_every_metric_is_registered_and_described_in_the_order_of_its_enum():
    assert list(METRICS) == list(METRIC_FACTS) == list(Metric)
    assert set(TASK_METRICS) == {name for name, rule in METRICS.items() if not rule.less_is_better}


def test_a_file_of_prompts_may_name_every_metric_of_a_task():
    assert get_args(suite.Task.model_fields["metric"].annotation) == TASK_METRICS


BOOTSTRAP = Bootstrap(samples=1000, level=0.95, seed=0)
TOKENS = torch.zeros(4, 1, dtype=torch.long)
PAIRS = PromptPairs(TOKENS, TOKENS, TOKENS[:, 0], [[0]] * 4, [[1]] * 4)
CLEAN = torch.tensor([[4.0, 1, 0], [2, 1, 0], [2, 1, 5], [0, 1, 0]])


def test_every_column_is_what_a_hand_finds():
    row = behaviour(CLEAN, -CLEAN, PAIRS, metric="logit_diff", n_tokens=3, bootstrap=BOOTSTRAP)
    assert row["value"] == pytest.approx((3 + 1 + 1 - 1) / 4)
    assert row["value_corrupted"] == pytest.approx(-1)
    assert row["se"] == pytest.approx(math.sqrt((4 + 0 + 0 + 4) / 3) / 2)
    assert row["accuracy"] == 0.75
    assert row["rank0"] == 0.5
    assert row["n"] == 4
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_the_standard_error_and_n_are_those_of_groups():
    """Two twins at 2 +- 1 and 0 +- 1: means of 2 and 0, so the error is 1 and not half as much."""
    pairs = replace(PAIRS, groups=np.array([0, 0, 1, 1]))
    row = behaviour(CLEAN, CLEAN, pairs, metric="logit_diff", n_tokens=3, bootstrap=BOOTSTRAP)
    assert row["value"] == pytest.approx(1)
    assert row["se"] == pytest.approx(1)
    assert row["n"] == 2
    assert (row["ci_low"], row["ci_high"]) == (0, 2)


def test_probability_tasks_have_no_single_best_answer():
    row = behaviour(CLEAN, CLEAN, PAIRS, metric="prob_diff", n_tokens=3, bootstrap=BOOTSTRAP)
    assert math.isnan(row["rank0"])
    probabilities = CLEAN.double().softmax(1)
    assert row["answer_prob"] == pytest.approx(probabilities[:, :2].sum(1).mean().item())


def test_a_padding_row_takes_probability_but_is_never_the_most_likely_token():
    padded = torch.cat([CLEAN, torch.full((4, 1), 9.0)], 1)
    row = behaviour(padded, padded, PAIRS, metric="logit_diff", n_tokens=3, bootstrap=BOOTSTRAP)
    assert row["rank0"] == 0.5
    assert row["answer_prob"] < 0.1


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
