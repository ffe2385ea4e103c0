from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitlapse.errors import UnknownNameError
from circuitlapse.models.ablation import ablated_outputs
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import AUTOMATIC, Limits

PARTS = ("embed", "z", "mlp_out", "attn_out")


@pytest.fixture(scope="module")
def runs(random_model, random_pairs):
    return cache_activations(random_model, random_pairs)


def ablate(model, pairs, ablation, *, activations=None, limits=AUTOMATIC):
    how = {"ablation": ablation, "activations": activations, "limits": limits}
    return ablated_outputs(model, pairs, **how)


def test_corrupted_outputs_are_those_of_the_corrupted_run(random_model, random_pairs, runs):
    ablated = ablate(random_model, random_pairs, "corrupted")
    assert ablated.is_a_run
    expected = runs.corrupted.outputs(random_model)
    for part in PARTS:
        torch.testing.assert_close(getattr(ablated.outputs, part), getattr(expected, part))


def test_the_mean_is_over_clean_prompts_at_the_same_position(random_model, random_pairs, runs):
    """All nine prompts have five positions; the later ones take the mean over all positions."""
    ablated = ablate(random_model, random_pairs, "mean")
    assert not ablated.is_a_run
    clean = runs.clean.outputs(random_model)
    for part in PARTS:
        whole, got = getattr(clean, part), getattr(ablated.outputs, part)
        real = [whole[row, : int(end) + 1] for row, end in enumerate(random_pairs.end)]
        overall = torch.cat(real).double().mean(0).float()
        for position in range(got.shape[1]):
            expected = whole[:, position].mean(0) if position < 5 else overall
            expected = expected.expand_as(got[:, position])
            torch.testing.assert_close(got[:, position], expected, rtol=1e-5, atol=1e-6)


def test_the_mean_at_a_position_is_over_ten_prompts_or_more(random_model, random_pairs):
    """Otherwise what a few long prompts do would be ablated by what they do."""
    twice = random_pairs.take(np.tile(np.arange(9), 2))  # 14, 10 and 6 reach position 5, 6 and 7
    clean = cache_activations(random_model, twice).clean.embed
    got = ablate(random_model, twice, "mean").outputs.embed[0]
    overall = clean[twice.attention_mask].mean(0)
    for position in (5, 6):
        at = clean[twice.attention_mask[:, position], position].mean(0)
        torch.testing.assert_close(got[position], at, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got[7], overall, rtol=1e-5, atol=1e-6)


def test_what_is_the_same_at_a_position_in_all_prompts_stays(random_model, random_pairs):
    """Such as where a word stands: a mean over all positions would take that away, too."""
    same = replace(random_pairs, clean=random_pairs.clean[:1].expand_as(random_pairs.clean))
    same = replace(same, end=torch.full_like(same.end, 4))
    ablated = ablate(random_model, same, "mean").outputs
    clean = cache_activations(random_model, same).clean.outputs(random_model)
    for part in PARTS:
        expected, got = (getattr(one, part)[:, :5] for one in (clean, ablated))
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_zero_leaves_only_the_output_bias_of_attention(random_model, random_pairs):
    outputs = ablate(random_model, random_pairs, "zero").outputs
    assert all((getattr(outputs, part) == 0).all() for part in ("embed", "z", "mlp_out"))
    for layer, block in enumerate(random_model.blocks):
        bias = block.attn.b_O.expand(*random_pairs.clean.shape, -1)
        torch.testing.assert_close(outputs.attn_out[:, :, layer], bias)


@pytest.mark.parametrize("ablation", ["corrupted", "mean"])
def test_known_activations_and_small_batches_give_the_same(
    random_model, random_pairs, runs, ablation
):
    known = ablate(random_model, random_pairs, ablation, activations=runs)
    small = ablate(random_model, random_pairs, ablation, limits=Limits(batch_size=2))
    for part in PARTS:
        got, expected = (getattr(one.outputs, part) for one in (small, known))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_batch_holds_its_own_prompts(random_model, random_pairs):
    ablated = ablate(random_model, random_pairs, "corrupted")
    part = ablated.batch(2, 5)
    assert part.is_a_run
    torch.testing.assert_close(part.outputs.z, ablated.outputs.z[2:5])


def test_an_unknown_ablation_is_refused_with_the_nearest(random_model, random_pairs):
    with pytest.raises(UnknownNameError, match="did you mean 'corrupted'"):
        ablate(random_model, random_pairs, "corupted")
