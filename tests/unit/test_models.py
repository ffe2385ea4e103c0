import json
import socket

import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse import load_model
from circuitlapse.errors import ModelError
from circuitlapse.models import model_graph
from tests.conftest import save_random_model


def test_logits_are_those_of_the_hugging_face_model(random_folder, random_model, random_pairs):
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder).eval()
    with torch.no_grad():
        expected = plain(random_pairs.clean).logits
        ours = random_model(random_pairs.clean, return_type="logits")
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert not random_model.training
    assert not any(weight.requires_grad for weight in random_model.parameters())


def test_per_head_weights_are_the_interleaved_slices_of_the_checkpoint(oracle):
    layers = oracle.model.original_model.gpt_neox.layers
    for layer, block in enumerate(oracle.model.blocks):
        joint = layers[layer].attention.query_key_value.weight.view(4, 3, 8, 32)
        for index, name in enumerate(("W_Q", "W_K", "W_V")):
            assert torch.equal(getattr(block.attn, name), joint[:, index].transpose(1, 2))


def test_loading_needs_no_network(random_folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_model(random_folder)


def test_the_graph_follows_the_residual(tmp_path, random_model):
    assert model_graph(random_model).parallel
    folder = save_random_model(tmp_path / "model", use_parallel_residual=False)
    assert not model_graph(load_model(folder)).parallel


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no config.json; expected a folder laid out like a hub"):
        load_model(tmp_path)


def test_an_unsupported_architecture_is_refused_in_one_sentence(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"]
    with pytest.raises(ModelError, match="GPT2LMHeadModel is not supported"):
        load_model(tmp_path)


def test_an_unknown_dtype_is_refused(random_folder):
    with pytest.raises(ModelError, match="did you mean 'float32'"):
        load_model(random_folder, dtype="float23")
