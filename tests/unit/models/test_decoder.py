from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from circuitlapse import load_decoder
from circuitlapse.models.layers import Norm
from circuitlapse.models.load import n_parameters
from tests.conftest import save_random


@pytest.mark.parametrize("kind", ["parallel", "gpt2"])
def test_weights_are_counted_once_as_in_transformers(tmp_path, kind):
    """GPT-2 has its embedding as its unembedding."""
    model = load_decoder(save_random(kind, tmp_path / "model"))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert n_parameters(model) == plain.num_parameters()
    assert (model.unembed is model.embed) == (kind == "gpt2")


def test_every_weight_is_among_the_weights(random_model):
    found = {id(weight) for weight in random_model.weights()}
    for block in random_model.blocks:
        for part in (block.ln1.weight, block.attn.qkv_bias, block.mlp.w_out):
            assert id(part) in found
    assert id(random_model.ln_final.bias) in found


def test_a_decoder_is_told_from_others_by_its_shape_not_by_its_weights(random_model):
    assert repr(random_model) == (f"Decoder({random_model.cfg.model_name}, 3 layers of 2 heads)")


def test_a_part_is_replaced_in_a_copy_and_never_in_place(random_model):
    with pytest.raises(FrozenInstanceError):
        random_model.embed = torch.zeros(1)
    other = replace(random_model, ln_final=Norm("none"))
    assert other.blocks is random_model.blocks
    assert random_model.ln_final.kind == "layer"


def test_heads_are_joint_if_those_of_any_layer_are(random_model):
    assert not random_model.heads_are_joint
    block = random_model.blocks[1]
    after = replace(block, attn=replace(block.attn, norm_after=Norm("rms", eps=1e-5)))
    blocks = (random_model.blocks[0], after, random_model.blocks[2])
    assert replace(random_model, blocks=blocks).heads_are_joint
