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


def test_the_mean_is_over_all_real_positions_of_all_clean_prompts(random_model, random_pairs, runs):
    ablated = ablate(random_model, random_pairs, "mean")
    assert not ablated.is_a_run
    clean = runs.clean.outputs(random_model)
    for part in PARTS:
        real = [
            getattr(clean, part)[row, : int(end) + 1] for row, end in enumerate(random_pairs.end)
        ]
        expected = torch.cat(real).double().mean(0).float()
        got = getattr(ablated.outputs, part)
        torch.testing.assert_close(got, expected.expand_as(got), rtol=1e-5, atol=1e-6)


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
