from dataclasses import replace

import pytest
import torch

from circuitlapse.heads.attention_to_names import attention_from_end, attention_to_names
from circuitlapse.heads.base import Subject
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits


@pytest.fixture
def pairs(random_pairs):
    """Prompts that end at positions 4 to 7, with names in their first four places."""
    roles = {"io": torch.arange(9) % 2, "s1": 1 - torch.arange(9) % 2, "s2": torch.full((9,), 3)}
    return replace(random_pairs, roles=roles)


def test_attention_is_read_in_the_row_of_the_end_and_the_columns_of_the_names():
    pattern = torch.zeros(2, 1, 1, 4, 4)
    pattern[0, 0, 0, 3] = torch.tensor([0.5, 0.25, 0.125, 0.125])
    pattern[1, 0, 0, 2] = torch.tensor([0.1, 0.2, 0.7, 0.0])
    positions = torch.tensor([[0, 1, 2], [1, 0, 2]])
    found = attention_from_end(pattern, torch.tensor([3, 2]), positions)[..., 0, 0]
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.25, 0.125], [0.2, 0.1, 0.7]]))


def test_a_score_is_the_mean_over_prompts_of_what_each_of_them_shows(random_model, pairs):
    clean = cache_activations(random_model, pairs).clean
    scores = attention_to_names(Subject(random_model, 0, pairs, clean))
    for role in ("io", "s1", "s2"):
        expected = torch.zeros(3, 2)
        for row in range(9):
            at = int(pairs.end[row]), int(pairs.roles[role][row])
            expected += clean.pattern[(row, ..., *at)] / 9
        torch.testing.assert_close(scores[f"attn_{role}"].values, expected)
        assert scores[f"attn_{role}"].n == 9


def test_without_activations_the_prompts_are_run(random_model, pairs):
    clean = cache_activations(random_model, pairs).clean
    expected = attention_to_names(Subject(random_model, 0, pairs, clean))
    found = attention_to_names(Subject(random_model, 0, pairs), limits=Limits(4))
    for name, score in expected.items():
        torch.testing.assert_close(found[name].values, score.values)


def test_prompts_without_the_roles_are_refused(random_model, random_pairs):
    with pytest.raises(ValueError, match="needs prompt pairs with the roles io, s1, s2"):
        attention_to_names(Subject(random_model, 0))
    without = replace(random_pairs, roles={"io": random_pairs.end})
    with pytest.raises(ValueError, match=r"lack the roles s1, s2; .*, found io"):
        attention_to_names(Subject(random_model, 0, without))
