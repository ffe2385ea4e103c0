import hashlib
import json

import pytest

from circuitlapse.io.provenance import (
    file_hash,
    hash_of,
    provenance,
    published_as,
    weights_hash,
    write_provenance,
)

INPUTS = {"weights": "a", "task": "b"}


def test_a_file_is_hashed_as_sha256sum_does(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert file_hash(tmp_path / "model.safetensors") == expected


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors"])
def test_a_model_is_its_weights_and_its_configuration(tmp_path, changed):
    for name in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / name).write_text("old")
    before = weights_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("new")
    assert weights_hash(tmp_path) == before
    (tmp_path / changed).write_text("new")
    assert weights_hash(tmp_path) != before


def test_a_model_in_shards_is_all_of_them(tmp_path):
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "1.safetensors", "2.safetensors"):
        (tmp_path / name).write_text("old")
    seen = {weights_hash(tmp_path)}
    for name in ("1.safetensors", "2.safetensors"):
        (tmp_path / name).write_text("new")
        seen.add(weights_hash(tmp_path))
    assert len(seen) == 3


def test_the_order_of_keys_does_not_matter_and_any_value_does():
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 1.5})


def test_the_key_changes_with_inputs_and_settings_and_with_nothing_else():
    key = provenance(INPUTS, {"ig_steps": 30})["key"]
    assert provenance(INPUTS, {"ig_steps": 30})["key"] == key
    assert provenance(INPUTS | {"task": "c"}, {"ig_steps": 30})["key"] != key
    assert provenance(INPUTS, {"ig_steps": 31})["key"] != key


def test_provenance_names_code_libraries_and_settings():
    record = provenance(INPUTS, {"seed": 3})
    assert record["weights_hash"] == "a"
    assert record["settings"] == '{"seed": 3}'
    assert {"circuitlapse", "code_hash", "torch", "transformer_lens"} <= set(record)


def test_a_model_says_where_it_was_published_if_it_was(tmp_path):
    assert published_as(tmp_path) == {}
    for settings, expected in (
        ({"seed": 3}, {}),
        ({"folder": "/data", "seed": 3}, {"model_folder": "/data"}),
        ({"repo": "a/b", "commit": "c"}, {"model_repo": "a/b", "model_commit": "c"}),
    ):
        write_provenance(tmp_path / "provenance.json", provenance({}, settings))
        assert published_as(tmp_path) == expected


def test_provenance_in_a_file_of_its_own_is_json_with_the_same_bytes_every_time(tmp_path):
    for name, settings in (("a", {"seed": 3, "step": 1}), ("b", {"step": 1, "seed": 3})):
        write_provenance(tmp_path / name, provenance(INPUTS, settings))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = json.loads((tmp_path / "a").read_text())
    assert read["settings"] == {"seed": 3, "step": 1}
    assert (read["weights_hash"], read["key"]) == ("a", provenance(INPUTS, settings)["key"])
