"""Files made to do harm: they are refused by name, and nothing in them runs or is followed."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from circuitlapse import load_model
from circuitlapse.errors import CircuitlapseError
from circuitlapse.hub import link_snapshot
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.corpus_files import read_corpus, read_documents, read_tokenizer
from circuitlapse.io.eap_ig import read_eap_ig
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.io.provenance import read_record
from circuitlapse.io.table_files import read_provenance
from circuitlapse.io.task_files import read_task
from circuitlapse.models.load import load_decoder
from circuitlapse.pocket.corpus import make_pocket_tokenizer
from tests.sealed import reseal

KIND = "hostile files"
pytestmark = pytest.mark.faults

DEEP = "[" * 100_000 + "]" * 100_000
DEEP_KEYS = '{"a":' * 50_000 + "1" + "}" * 50_000
HUGE = 2**40
"""Bytes of a file without content, which takes no room on the disk."""


class Harm:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


@pytest.fixture(autouse=True)
def harmless(tmp_path, monkeypatch):
    """Whatever a test does, nothing of a file has run."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "harmed").exists()


@pytest.fixture
def model(random_folder, tmp_path):
    return Path(shutil.copytree(random_folder, tmp_path / "model"))


def refuse(read, path, *given):
    """Fail unless a reader names the file in one of our errors, in one line."""
    with pytest.raises(CircuitlapseError) as caught:
        read(path, *given)
    assert Path(path).name in str(caught.value)
    assert len(str(caught.value)) < 2000


# Models.


@pytest.mark.parametrize("read", [load_decoder, load_model])
def test_weights_with_code_do_not_run_it(model, read):
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    refuse(read, model)


def test_weights_with_code_are_not_converted(model, tmp_path):
    (model / "model.safetensors").unlink()
    make_pocket_tokenizer().save(str(model / "tokenizer.json"))
    with zipfile.ZipFile(model / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": Harm()}))
        archive.writestr("archive/version", "3")
    with pytest.raises(CircuitlapseError, match=r"pytorch_model\.bin"):
        link_snapshot(model, tmp_path / "linked")
    assert not (tmp_path / "linked").exists()


CONFIGS = {
    "deep": DEEP,
    "deep_keys": DEEP_KEYS,
    "list": "[]",
    "number": "1e999",
    "negative": {"num_hidden_layers": -1},
    "enormous": {"num_hidden_layers": 10**30},
    "no_width": {"hidden_size": 0},
    "infinite": {"layer_norm_eps": float("inf")},
    "text": {"num_attention_heads": "2"},
    "nothing": {"vocab_size": None},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_a_model_is_refused(model, name):
    content, path = CONFIGS[name], model / "config.json"
    whole = json.loads(path.read_text())
    path.write_text(content if isinstance(content, str) else json.dumps(whole | content))
    with pytest.raises(CircuitlapseError, match="config"):
        load_decoder(model)


INDICES = {
    "above": {"weight_map": {"a": "../../other.safetensors"}},
    "absolute": {"weight_map": {"a": "/etc/passwd"}},
    "folder": {"weight_map": {"a": "."}},
    "text": {"weight_map": "a"},
    "numbers": {"weight_map": {"a": 3}},
    "nothing": {"weight_map": {}},
    "nul": {"weight_map": {"a": "a\0b"}},
    "deep": DEEP,
}


@pytest.mark.parametrize("name", INDICES)
def test_an_index_of_weights_leads_nowhere_else(model, name):
    weights = (model / "model.safetensors").rename(model / "aside")
    shutil.copy(weights, model.parent / "other.safetensors")
    content = INDICES[name]
    text = content if isinstance(content, str) else json.dumps(content)
    (model / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CircuitlapseError, match="index"):
        load_decoder(model)


HEADERS = {
    "long": struct.pack("<Q", 2**60),
    "deep": struct.pack("<Q", len(DEEP)) + DEEP.encode(),
    "outside": b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1099511627776]}}',
    "negative": b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}',
    "no_type": b'{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_weights_is_refused(model, name):
    content = HEADERS[name]
    if content.startswith(b"{"):
        content = struct.pack("<Q", len(content)) + content + bytes(16)
    (model / "model.safetensors").write_bytes(content)
    refuse(load_decoder, model)


# JSON.


@pytest.mark.parametrize("content", [DEEP, DEEP_KEYS, "\0", "1e999", "{}"], ids=range(5))
def test_a_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    refuse(read_tokenizer, tmp_path / "tokenizer.json")


@pytest.mark.parametrize("content", [DEEP, DEEP_KEYS, "[3]", '"text"'], ids=range(4))
def test_a_record_is_refused_or_not_ours(tmp_path, content):
    (tmp_path / "provenance.json").write_text(content)
    try:
        found = read_record(tmp_path)
    except CircuitlapseError as error:
        found = str(error)
    assert found == {} or "provenance.json" in found


@pytest.mark.parametrize("content", [DEEP, DEEP_KEYS, "[]", '{"nodes": 3}', "{}"], ids=range(5))
def test_a_circuit_of_another_library_is_refused(tmp_path, content):
    (tmp_path / "circuit.json").write_text(content)
    refuse(read_eap_ig, tmp_path / "circuit.json")


def test_json_without_end_is_not_read(model):
    with (model / "config.json").open("ab") as stream:
        stream.truncate(HUGE)
    refuse(load_decoder, model)


# Archives and arrays.


def test_an_archive_with_code_does_not_run_it(tmp_path):
    np.savez(tmp_path / "train.npz", facts=np.array([Harm()], dtype=object))
    refuse(read_corpus, tmp_path / "train.npz")


def test_text_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe\0\0")
    refuse(read_documents, tmp_path / "text.txt", make_pocket_tokenizer())


LINKS = {
    "external_link": lambda file, other: file.__setitem__("x", h5py.ExternalLink(other, "x")),
    "soft_link": lambda file, other: file.__setitem__("x", h5py.SoftLink("/y")),
    "raw_storage": lambda file, other: file.create_dataset(
        "x", (3,), "f8", external=[(other, 0, h5py.h5f.UNLIMITED)]
    ),
    "virtual": lambda file, other: file.create_virtual_dataset("x", layout_of(other)),
    "group": lambda file, other: file.create_group("x"),
    "named_type": lambda file, other: file.__setitem__("x", np.dtype("f8")),
}


def layout_of(other):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(other, "y", (3,))
    return layout


@pytest.mark.parametrize("name", LINKS)
def test_data_outside_of_a_file_is_not_read(tmp_path, name):
    path, other = tmp_path / "a.h5", tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = file["y"] = np.ones(3)
    write_hdf5(path, {"y": Dataset(np.ones(3), ("d_model",))}, {})
    with h5py.File(path, "a") as file:
        LINKS[name](file, str(other))
    reseal(path)
    refuse(read_hdf5, path, {"x": ("d_model",)})


@pytest.mark.parametrize("read", [read_circuit, read_task, read_provenance, read_corpus])
@pytest.mark.parametrize("content", ["huge", "zip", "hdf5", "pickle"])
def test_a_file_of_another_kind_is_refused(tmp_path, read, content):
    path = tmp_path / "file"
    if content == "huge":
        with path.open("wb") as stream:
            stream.truncate(2**28)
    elif content == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../harmed", bytes(2**20))
    elif content == "hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = h5py.ExternalLink("/etc/passwd", "x")
    else:
        path.write_bytes(pickle.dumps(Harm()))
    refuse(read, path)
