import math

import pytest
import torch

from circuitlapse import PromptPairs
from circuitlapse.models.metrics import behaviour
from circuitlapse.settings import Bootstrap

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
