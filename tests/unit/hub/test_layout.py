import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer, models

from circuitlapse import load_model
from circuitlapse.errors import HubError
from circuitlapse.hub import fetch_snapshot, link_snapshot
from circuitlapse.hub.layout import to_safetensors
from tests.conftest import save_random_gpt2
from tests.unit.hub.conftest import REPO

OLD = "gpt_neox.layers.0.attention"
BUFFERS = {
    f"{OLD}.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
    f"{OLD}.masked_bias": torch.tensor(-1e9),
    f"{OLD}.rotary_emb.inv_freq": torch.rand(2),
}


def logits(folder, n=12):
    with torch.no_grad():
        return load_model(folder)(torch.arange(n)[None], return_type="logits")


def as_torch(folder, published, *, zipped=True, shards=1):
    """Save the published model as older hub models are: pickled, with buffers."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(published / name, folder)
    weights = list((load_file(published / "model.safetensors") | BUFFERS).items())
    where = {}
    for i in range(shards):
        name = f"pytorch_model-{i + 1:05}-of-{shards:05}.bin" if shards > 1 else "pytorch_model.bin"
        part = dict(weights[i::shards])
        torch.save(part, folder / name, _use_new_zipfile_serialization=zipped)
        where |= dict.fromkeys(part, name)
    if shards > 1:
        index = {"metadata": {"total_size": 1}, "weight_map": where}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_without_safetensors_are_converted(hub, published, tmp_path, zipped):
    hub.add(REPO, "step1", as_torch(tmp_path / "made", published, zipped=zipped))
    fetch_snapshot(REPO, "step1", tmp_path / "a")
    assert not list((tmp_path / "a").glob("*.bin"))
    assert torch.equal(logits(tmp_path / "a"), logits(published))
    with safe_open(tmp_path / "a" / "model.safetensors", "pt") as made:
        assert made.metadata() == {"format": "pt"}
        assert set(made.keys()) == set(load_file(published / "model.safetensors"))


def test_safetensors_are_taken_where_there_are_both(hub, published, tmp_path):
    made = as_torch(tmp_path / "made", published)
    shutil.copy(published / "model.safetensors", made)
    hub.add(REPO, "step1", made)
    fetch_snapshot(REPO, "step1", tmp_path / "a")
    assert hub.asked("*.bin") == []


def test_shards_are_converted_one_by_one(published, tmp_path):
    source = as_torch(tmp_path / "made", published, shards=3)
    link_snapshot(source, tmp_path / "a")
    made = sorted(path.name for path in (tmp_path / "a").glob("*model*"))
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert made == [*shards, "model.safetensors.index.json"]
    assert torch.equal(logits(tmp_path / "a"), logits(published))
    index = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())
    weights = load_file(published / "model.safetensors")
    assert set(index["weight_map"]) == set(weights)
    assert index["metadata"]["total_size"] == sum(weight.nbytes for weight in weights.values())
    assert len(list(source.glob("*.bin"))) == 3


def test_the_same_file_gives_the_same_bytes(published, tmp_path):
    source = as_torch(tmp_path / "made", published) / "pytorch_model.bin"
    for name in ("a", "b"):
        to_safetensors(source, tmp_path / name, label="m")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_that_share_memory_keep_both_names(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    shared = {"embed": whole, "unembed": whole, "row": whole[1], "turned": whole.T}
    torch.save(shared, tmp_path / "a.bin")
    to_safetensors(tmp_path / "a.bin", tmp_path / "a", label="m")
    made = load_file(tmp_path / "a")
    assert set(made) == set(shared)
    assert all(torch.equal(made[name], weight) for name, weight in shared.items())


def test_a_gpt2_with_tied_embeddings_and_no_prefix_is_the_same_model(tmp_path):
    plain = save_random_gpt2(tmp_path / "plain")
    source = tmp_path / "made"
    source.mkdir()
    weights = load_file(plain / "model.safetensors")
    old = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    mask = {"h.0.attn.bias": torch.ones(1, 1, 64, 64)}
    torch.save(old | mask | {"lm_head.weight": old["wte.weight"]}, source / "pytorch_model.bin")
    shutil.copy(plain / "config.json", source)
    Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(source / "tokenizer.json"))
    link_snapshot(source, tmp_path / "a")
    assert torch.equal(logits(tmp_path / "a"), logits(plain))


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran code from a file')",))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_with_code_is_refused_and_not_run(published, tmp_path, zipped):
    source = as_torch(tmp_path / "made", published)
    torch.save({"a": Evil()}, source / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(HubError, match=r"made: pytorch_model.bin: expected weights only, but"):
        link_snapshot(source, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 1}])
def test_a_file_with_other_things_than_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(HubError, match=r"m: a.bin: expected a mapping of names to weights, found"):
        to_safetensors(tmp_path / "a.bin", tmp_path / "a", label="m")
