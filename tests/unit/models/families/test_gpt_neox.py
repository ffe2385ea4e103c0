import pytest
import torch

from circuitlapse import load_decoder
from tests import families


def test_rows_are_sorted_by_query_key_and_value(family_folder):
    """A file holds query, key and value of one head below each other."""
    folder = family_folder("gpt_neox")
    layers = families.hugging_face(folder).gpt_neox.layers
    for layer, block in zip(layers, load_decoder(folder).blocks, strict=True):
        joint = layer.attention.query_key_value
        weight, bias = joint.weight.view(4, 3, 16, 64), joint.bias.view(4, 3, 16)
        for index, port in enumerate("QKV"):
            ours = getattr(block.attn, f"W_{port}")
            assert torch.equal(ours, weight[:, index].transpose(1, 2))
            assert torch.equal(getattr(block.attn, f"b_{port}"), bias[:, index])


@pytest.mark.parametrize("stored", [torch.bool, torch.uint8, torch.float16])
def test_masks_and_frequencies_of_old_files_are_not_read(tmp_path, random_pairs, stored):
    folder = families.save("gpt_neox", tmp_path / "model")
    before = [weight.clone() for weight in load_decoder(folder).weights()]

    def add(weights):
        for layer in range(families.N_LAYERS):
            name = f"gpt_neox.layers.{layer}.attention"
            weights[f"{name}.bias"] = torch.zeros(1, 1, 64, 64, dtype=stored)
            weights[f"{name}.masked_bias"] = torch.tensor(1.0, dtype=torch.float16)
            weights[f"{name}.rotary_emb.inv_freq"] = torch.ones(2)

    families.edit_weights(folder, add)
    after = list(load_decoder(folder).weights())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_model_without_attention_biases_has_zeros(family_folder):
    for block in load_decoder(family_folder("gpt_neox-no-attention-bias")).blocks:
        for bias in (block.attn.b_Q, block.attn.b_K, block.attn.b_V, block.attn.b_O):
            assert not bias.any()
