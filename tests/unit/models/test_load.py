import json
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

from circuitlapse import load_decoder, load_model
from circuitlapse.errors import ModelError
from circuitlapse.models import load
from circuitlapse.models.forward import embed_tokens
from circuitlapse.models.load import model_graph
from tests import families

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 166029852\n"


@pytest.fixture
def folder(family_folder, tmp_path):
    """A copy of a model of which a test may change every file."""
    return shutil.copytree(family_folder("llama"), tmp_path / "model")


def refused(folder, message):
    """Check that a folder is refused in one sentence that matches."""
    with pytest.raises(ModelError) as error:
        load_decoder(folder)
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), str(error.value)


def test_loading_needs_no_network(random_folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_decoder(random_folder)


def test_the_graph_follows_the_residual(family_folder):
    assert model_graph(load_decoder(family_folder("gpt_neox"))).parallel
    assert not model_graph(load_decoder(family_folder("gpt_neox-sequential"))).parallel


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no config.json; expected a local folder laid out"):
        load_decoder(tmp_path)


def test_a_shard_that_is_missing_is_named(family_folder, tmp_path):
    families.hugging_face(family_folder("llama")).save_pretrained(tmp_path, max_shard_size="15KB")
    shard = sorted(tmp_path.glob("*-of-*.safetensors"))[-1]
    shard.unlink()
    refused(tmp_path, f"no {shard.name}; expected a local folder")


def test_a_hub_name_is_said_not_to_be_fetched():
    with pytest.raises(ModelError, match=r"^EleutherAI/pythia-70m: .* on a hub are not fetched$"):
        load.load_decoder("EleutherAI/pythia-70m")


@pytest.mark.parametrize(
    ("device", "n_gpus", "message"),
    [
        ("cuda", 0, "is cuda, but PyTorch finds no CUDA GPU .* set compute.device to cpu"),
        ("cuda:1", 1, "is cuda:1, but PyTorch finds one CUDA GPU, cuda:0 .* to one of them"),
        ("cuda:2", 2, "is cuda:2, but PyTorch finds 2 CUDA GPUs, up to cuda:1 "),
    ],
)
@pytest.mark.parametrize("load", [load_decoder, load_model])
def test_a_gpu_that_is_not_there_is_refused(
    random_folder, monkeypatch, load, device, n_gpus, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with pytest.raises(ModelError, match=f"^compute.device {message}"):
        load(random_folder, device)


@pytest.mark.parametrize("load", [load_decoder, load_model])
def test_an_unknown_dtype_is_refused(random_folder, load):
    with pytest.raises(ModelError, match="did you mean 'float32'"):
        load(random_folder, dtype="float23")


def test_a_job_loads_a_model_without_transformers_and_transformer_lens(random_folder):
    code = (
        "import sys, circuitlapse as cl; cl.load_decoder(sys.argv[1]); "
        "print(*{'transformers', 'transformer_lens'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(random_folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told_apart_from_a_broken_file(folder, name):
    (folder / name).write_bytes(POINTER)
    refused(folder, rf"model/{name}: a Git LFS pointer, .*`git lfs pull`")


def test_a_pointer_in_place_of_a_shard_is_named(family_folder, tmp_path):
    families.hugging_face(family_folder("llama")).save_pretrained(tmp_path, max_shard_size="15KB")
    shard = sorted(tmp_path.glob("*-of-*.safetensors"))[1]
    shard.write_bytes(POINTER)
    refused(tmp_path, rf"{shard.name}: a Git LFS pointer, .*`git lfs pull`")


def test_truncated_weights_are_refused_wherever_they_end(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for share in (0.0, 0.0001, 0.01, 0.1, 0.5, 0.9, 0.9999):
        weights.write_bytes(whole[: int(share * len(whole))])
        refused(
            folder, r"model.safetensors: not a readable safetensors file.*run the workflow again"
        )


@pytest.mark.parametrize("text", ["", "{", "hidden_size: 32", "null", "[]", '"llama"', "7"])
def test_a_configuration_that_is_no_mapping_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, r"config.json: (not a readable JSON file|holds a .*expected a mapping)")


@pytest.mark.parametrize(
    ("name", "keys"),
    {
        "gpt2": ["vocab_size", "n_embd", "n_layer", "n_head"],
        "gpt_neox": ["vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"],
        "llama": ["architectures", "vocab_size", "num_attention_heads", "intermediate_size"],
    }.items(),
)
def test_a_size_that_is_missing_is_named(family_folder, tmp_path, name, keys):
    folder = shutil.copytree(family_folder(name), tmp_path / "model")
    whole = (folder / "config.json").read_text()
    for key in keys:
        families.edit_config(folder, lambda config, key=key: config.pop(key))
        refused(folder, rf"config.json: {key} is missing, expected ")
        (folder / "config.json").write_text(whole)


@pytest.mark.parametrize("name", ["GPTNeoForCausalLM", "MistralForCausalLM", "LlamaModel"])
def test_another_architecture_is_refused_with_those_that_are_supported(folder, name):
    families.edit_config(folder, lambda config: config.update(architectures=[name]))
    refused(folder, rf"config.json: architectures is \['{name}'\], expected .*LlamaForCausalLM")


def test_a_tokenizer_of_another_model_is_refused(folder):
    words = {f"w{index}": index for index in range(families.VOCAB + 1)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    refused(folder, r"tokenizer.json has tokens up to 50, but vocab_size in config.json is 50")


def test_a_tokenizer_with_few_tokens_but_large_ids_is_refused(folder):
    words = {"w0": 0, "w1": 1, "w2": families.VOCAB}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    refused(folder, r"tokenizer.json has tokens up to 50, but vocab_size in config.json is 50")


@pytest.mark.parametrize("text", ["", "{}", '{"model": 5}'])
def test_a_broken_tokenizer_is_refused(folder, text):
    (folder / "tokenizer.json").write_text(text)
    refused(folder, "tokenizer.json: not a readable tokenizer.*run the workflow again")


def test_a_weight_that_two_shards_hold_is_read_from_the_one_that_the_index_names(
    family_folder, tmp_path
):
    """A shard of an older upload may lie beside the new ones."""
    families.hugging_face(family_folder("llama")).save_pretrained(tmp_path, max_shard_size="15KB")
    name = "model.norm.weight"
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    expected = load_file(tmp_path / index[name])[name]
    for path in sorted(tmp_path.glob("*-of-*.safetensors")):
        if path.name != index[name]:
            weights = load_file(path)
            save_file(weights | {name: torch.zeros(32)}, path, {"format": "pt"})
    assert torch.equal(load_decoder(tmp_path).ln_final.weight, expected)


def test_a_weight_that_the_index_promises_and_no_shard_holds_is_named(family_folder, tmp_path):
    families.hugging_face(family_folder("llama")).save_pretrained(tmp_path, max_shard_size="15KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    shard = tmp_path / index["model.norm.weight"]
    weights = load_file(shard)
    del weights["model.norm.weight"]
    save_file(weights, shard, {"format": "pt"})
    refused(tmp_path, "model.norm.weight")


def test_weights_of_pickle_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "no model.safetensors; expected a local folder")


def test_weights_need_no_gradient_and_are_of_the_asked_dtype(folder):
    for dtype in ("float32", "bfloat16", "float64"):
        model = load_decoder(str(folder), dtype=dtype)
        for weight in model.weights():
            assert weight.dtype == getattr(torch, dtype)
            assert not weight.requires_grad


def test_a_folder_without_tokenizer_is_a_model_whose_rows_are_all_tokens(folder):
    (folder / "tokenizer.json").unlink()
    model = load_decoder(folder)
    assert embed_tokens(model, torch.tensor([[families.VOCAB - 1]])).shape == (1, 1, 32)
