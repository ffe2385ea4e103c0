import shutil
import socket

import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse import load_model
from circuitlapse.errors import ModelError
from circuitlapse.models.load import model_graph
from circuitlapse.pocket.corpus import as_transformers, make_tokenizer
from tests.conftest import save_random_gpt2, save_random_model


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
    with pytest.raises(ModelError, match=r"no config.json; expected a local folder laid out"):
        load_model(tmp_path)


def test_sharded_weights_load_and_a_shard_that_is_missing_is_named(random_folder, tmp_path):
    model = GPTNeoXForCausalLM.from_pretrained(random_folder)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    shards = sorted(tmp_path.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        ours = load_model(tmp_path)(tokens, return_type="logits")
        assert torch.equal(ours, load_model(random_folder)(tokens, return_type="logits"))
    shards[-1].unlink()
    with pytest.raises(ModelError, match=f"no {shards[-1].name}; expected a local folder"):
        load_model(tmp_path)


def test_a_hub_name_is_said_not_to_be_fetched():
    with pytest.raises(ModelError, match=r"^EleutherAI/pythia-70m: .* on a hub are not fetched$"):
        load_model("EleutherAI/pythia-70m")


@pytest.mark.parametrize("content", [b"", b"half of the weights"])
def test_broken_weights_are_named_with_the_remedy(random_folder, tmp_path, content):
    folder = shutil.copytree(random_folder, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model: cannot be read .* delete it and run the work"):
        load_model(folder)


@pytest.mark.parametrize(
    ("device", "n_gpus", "message"),
    [
        ("cuda", 0, "is cuda, but PyTorch finds no CUDA GPU .* set compute.device to cpu"),
        ("cuda:1", 1, "is cuda:1, but PyTorch finds one CUDA GPU, cuda:0 .* to one of them"),
        ("cuda:2", 2, "is cuda:2, but PyTorch finds 2 CUDA GPUs, up to cuda:1 "),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(random_folder, monkeypatch, device, n_gpus, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with pytest.raises(ModelError, match=f"^compute.device {message}"):
        load_model(random_folder, device)


def save_llama(folder, **changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 20,
    }
    LlamaForCausalLM(LlamaConfig(**(shape | changes))).save_pretrained(folder)
    as_transformers(make_tokenizer(["a b c"]), context=16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "it has RMSNorm, a gated MLP; circuits can be found in GPTNeoXForCausalLM and"),
        ({"num_key_value_heads": 1}, "it has RMSNorm, a gated MLP, grouped-query attention; "),
    ],
)
def test_an_unsupported_architecture_is_refused_with_what_is_unsupported(tmp_path, changes, why):
    with pytest.raises(ModelError, match=f"LlamaForCausalLM is not supported, because {why}"):
        load_model(save_llama(tmp_path, **changes))


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "attention scores scaled by layer"),
        ({"scale_attn_weights": False}, "unscaled attention scores"),
    ],
)
def test_a_gpt2_with_other_attention_is_refused(tmp_path, flag, why):
    with pytest.raises(ModelError, match=f"GPT2LMHeadModel is not supported, because it has {why}"):
        load_model(save_random_gpt2(tmp_path, **flag))


def test_a_family_that_was_never_tried_is_refused(tmp_path):
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    config = GPTNeoConfig(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        vocab_size=20,
        max_position_embeddings=16,
        attention_types=[[["global"], 2]],
    )
    GPTNeoForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="GPTNeoForCausalLM is not supported, because it "):
        load_model(tmp_path)


def test_an_unknown_dtype_is_refused(random_folder):
    with pytest.raises(ModelError, match="did you mean 'float32'"):
        load_model(random_folder, dtype="float23")
