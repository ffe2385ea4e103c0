import json
from dataclasses import replace

import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError
from circuitlapse.models import verify
from circuitlapse.models.layers import Rotary
from circuitlapse.models.verify import verify_model
from circuitlapse.tasks.custom import build_custom_task
from tests import families

NAMES = ["gpt_neox", "gpt2", "llama", "olmo", "olmo2", "qwen2", "qwen3"]
ROTARY = [name for name in NAMES if name != "gpt2"]
NORMS = [name for name in NAMES if name != "olmo"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """One task of ten pairs."""
    rows = [
        {
            "clean": f"w1 w2 w{10 + n} w3 w4 w5",
            "corrupted": f"w1 w2 w{30 + n} w3 w4 w5",
            "correct": " w6",
            "wrong": " w7",
        }
        for n in range(10)
    ]
    file = tmp_path_factory.mktemp("task") / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    tokenizer = families.tokenizer()
    return [build_custom_task("mine", tokenizer, file=file, metric="logit_diff")]


def plant(monkeypatch, change):
    """Let the decoder that is verified have a fault."""

    def faulty(*args, **kwargs):
        return change(load_decoder(*args, **kwargs))

    monkeypatch.setattr(verify, "load_decoder", faulty)


def with_block(model, layer, **parts):
    blocks = list(model.blocks)
    blocks[layer] = replace(blocks[layer], **parts)
    return replace(model, blocks=tuple(blocks))


@pytest.mark.parametrize(
    "name", [name for name in families.ALGEBRAS if name != families.NOT_IN_TRANSFORMER_LENS]
)
def test_a_model_that_is_read_rightly_passes(family_folder, tasks, name):
    found = verify_model(family_folder(name), tasks)
    assert found.judge.startswith("transformer-lens ")
    assert found.n_prompts == 4
    assert found.difference < 1e-5


def test_without_tasks_random_tokens_find_a_fault_too(family_folder, monkeypatch):
    folder = family_folder("llama")
    assert verify_model(folder).n_prompts == verify.RANDOM_PROMPTS
    assert verify_model(folder) == verify_model(folder)
    plant(monkeypatch, lambda m: with_block(m, 1, ln2=replace(m.blocks[1].ln2, weight=None)))
    with pytest.raises(ModelError, match=r"layer 1\b"):
        verify_model(folder)


def test_random_tokens_fit_into_a_short_context(tmp_path):
    folder = families.save("gpt2", tmp_path / "model", n_positions=8)
    assert verify_model(folder).difference < 1e-5


@pytest.mark.parametrize("name", NORMS)
def test_a_wrong_gain_is_found_in_its_layer(family_folder, tasks, monkeypatch, name):
    def change(model):
        block = model.blocks[1]
        if name == "olmo2":
            norm = replace(block.attn.norm_after, weight=block.attn.norm_after.weight.flip(0))
            return with_block(model, 1, attn=replace(block.attn, norm_after=norm))
        return with_block(model, 1, ln2=replace(block.ln2, weight=block.ln2.weight.flip(0)))

    plant(monkeypatch, change)
    with pytest.raises(ModelError, match=r"layer 1\b"):
        verify_model(family_folder(name), tasks)


@pytest.mark.parametrize("name", NAMES)
def test_swapped_queries_and_keys_are_found_in_their_layer(tmp_path, tasks, monkeypatch, name):
    several = {} if name in ("gpt_neox", "gpt2") else {"num_key_value_heads": families.N_HEADS}
    folder = families.save(name, tmp_path / "model", **several)

    def change(model):
        attn = model.blocks[0].attn
        queries, keys, values = attn.qkv.chunk(3)
        swapped = torch.cat([keys, queries, values])
        return with_block(model, 0, attn=replace(attn, qkv=swapped))

    plant(monkeypatch, change)
    with pytest.raises(ModelError, match=r"layer 0\b"):
        verify_model(folder, tasks)


@pytest.mark.parametrize("name", ROTARY)
def test_another_base_of_rotary_frequencies_is_found(family_folder, tasks, monkeypatch, name):
    def change(model):
        attn = model.blocks[1].attn
        channels = 2 * len(attn.rotary.frequencies)
        rotary = Rotary.of(channels, base=300.0, device="cpu")
        return with_block(model, 1, attn=replace(attn, rotary=rotary))

    plant(monkeypatch, change)
    with pytest.raises(ModelError, match=r"layer 1\b"):
        verify_model(family_folder(name), tasks)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_wrong_unembedding_is_found_after_all_layers(family_folder, tasks, monkeypatch, name):
    plant(monkeypatch, lambda model: replace(model, unembed=model.unembed.flip(0)))
    with pytest.raises(ModelError, match=r"logits|unembedding") as refused:
        verify_model(family_folder(name), tasks)
    assert "layer 0" not in str(refused.value)
    assert "layer 1" not in str(refused.value)


def test_the_message_names_folder_found_and_expected(family_folder, tasks, monkeypatch):
    plant(monkeypatch, lambda m: with_block(m, 1, ln2=replace(m.blocks[1].ln2, weight=None)))
    folder = family_folder("llama")
    with pytest.raises(ModelError, match=r"1e-?0?4|0\.0001") as refused:
        verify_model(folder, tasks)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
