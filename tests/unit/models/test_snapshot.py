import json

import pytest
from transformers.utils import logging as bars

from circuitlapse.errors import ModelError
from circuitlapse.models.snapshot import no_progress_bars, shards_of, weight_files

INDEX = "model.safetensors.index.json"


def write_index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_named_once_each_in_order(tmp_path):
    write_index(tmp_path, {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"})
    assert weight_files(tmp_path) == [INDEX, "1.safetensors", "2.safetensors"]


def test_one_file_with_all_weights_goes_before_an_index(tmp_path):
    write_index(tmp_path, {"a": "1.safetensors"})
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == ["model.safetensors"]


def test_a_folder_without_weights_gets_the_name_of_what_it_lacks(tmp_path):
    assert weight_files(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize(
    "content", ["", "[]", '"a"', "{}", '{"weight_map": 1}', '{"weight_map": {"a": 1}}', "\udcff"]
)
def test_what_is_no_index_is_refused(tmp_path, content):
    (tmp_path / INDEX).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=f"{INDEX}: not an index of sharded weights"):
        shards_of(tmp_path / INDEX)


@pytest.mark.parametrize(
    "name", ["/etc/a.safetensors", "../a.bin", "b/a.bin", "", "..", "config.json"]
)
def test_an_index_names_files_beside_it(tmp_path, name):
    write_index(tmp_path, {"a": "1.safetensors", "b": name})
    with pytest.raises(ModelError, match=f"files beside the index that end in .* found '{name}'"):
        shards_of(tmp_path / INDEX)


def test_the_progress_bars_of_transformers_come_back():
    assert bars.is_progress_bar_enabled()
    with no_progress_bars():
        assert not bars.is_progress_bar_enabled()
    assert bars.is_progress_bar_enabled()
