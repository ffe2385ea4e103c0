import pytest
import torch

from circuitlapse import load_decoder
from tests import families


def test_rows_are_queries_then_keys_then_values(family_folder):
    """Weights are [in, out] in a file."""
    folder = family_folder("gpt2")
    layers = families.hugging_face(folder).transformer.h
    for layer, block in zip(layers, load_decoder(folder).blocks, strict=True):
        weight = layer.attn.c_attn.weight.view(32, 3, 4, 8)
        for index, port in enumerate("QKV"):
            assert torch.equal(getattr(block.attn, f"W_{port}"), weight[:, index].movedim(1, 0))
        assert torch.equal(block.attn.W_O, layer.attn.c_proj.weight.view(4, 8, 32))


@pytest.mark.parametrize("name", ["gpt2-bare", "gpt2-head", "gpt2-buffers"])
def test_other_files_of_the_same_model_hold_the_same_weights(family_folder, name):
    weights = [load_decoder(family_folder(each)).weights() for each in ("gpt2", name)]
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_embedding_and_unembedding_are_one_tensor_unless_untied(family_folder):
    tied, untied = (load_decoder(family_folder(name)) for name in ("gpt2", "gpt2-untied"))
    assert tied.unembed is tied.embed
    assert not torch.equal(untied.unembed, untied.embed)
