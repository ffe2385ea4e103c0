import hashlib

from circuitlapse.io.provenance import file_hash, hash_of, provenance, weights_hash

INPUTS = {"weights": "a", "task": "b"}


def test_a_file_is_hashed_as_sha256sum_does(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert file_hash(tmp_path / "model.safetensors") == expected
    assert weights_hash(tmp_path) == expected


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
