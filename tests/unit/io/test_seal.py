import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_hdf5, write_hdf5
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import Schema

SCHEMA = Schema("example", keys=("model",), columns={"model": "str", "value": "float64"})
DIMS = ("prompt", "d_model")
N_DAMAGED = 150


def write_one_hdf5(path, compress):
    values = np.random.default_rng(0).normal(size=(6, 40))
    write_hdf5(path, {"x": Dataset(values, DIMS, "logits")}, {"key": "k"}, compress=compress)


def read_one_hdf5(path):
    return read_hdf5(path, {"x": DIMS})


def write_one_table(path):
    values = np.random.default_rng(0).normal(size=50)
    frame = SCHEMA.cast(pd.DataFrame({"model": "small", "value": values}))
    write_table(path, frame, provenance={"key": "k"})


def read_one_table(path):
    return read_table(path, SCHEMA)


KINDS = {
    "hdf5": (lambda path: write_one_hdf5(path, False), read_one_hdf5),
    "compressed": (lambda path: write_one_hdf5(path, True), read_one_hdf5),
    "parquet": (write_one_table, read_one_table),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def file(kind, tmp_path):
    kind[0](tmp_path / "a")
    kind[1](tmp_path / "a")
    return tmp_path / "a"


def test_any_changed_bit_is_noticed(kind, file):
    whole, rng = file.read_bytes(), np.random.default_rng(1)
    for place in rng.choice(len(whole), N_DAMAGED, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"/a: .*delete it and run the workflow again"):
            kind[1](file)


def test_zeroed_blocks_and_lost_ends_are_noticed(kind, file):
    """Zeros in a header let the HDF5 library run for ever; so it must not even open the file."""
    whole = file.read_bytes()
    lost = [whole[:n] for n in range(0, len(whole), len(whole) // 20)]
    starts = range(0, len(whole) - 64, len(whole) // 20)
    zeroed = [whole[:n] + bytes(512) + whole[n + 512 :] for n in starts if any(whole[n : n + 512])]
    for damaged in (*lost, *zeroed, whole + b"\0"):
        file.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="delete it and run the workflow again"):
            kind[1](file)


def test_the_same_content_gives_the_same_bytes(kind, file):
    kind[0](file.with_name("b"))
    assert file.read_bytes() == file.with_name("b").read_bytes()


def test_a_file_without_a_digest_is_refused(tmp_path):
    with h5py.File(tmp_path / "a", "w") as stored:
        stored["x"] = 1
    with pytest.raises(ArtifactError, match="no digest of its content"):
        read_one_hdf5(tmp_path / "a")
    pd.DataFrame({"model": ["small"], "value": [1.0]}).to_parquet(tmp_path / "a")
    with pytest.raises(ArtifactError, match="no digest of its content"):
        read_one_table(tmp_path / "a")


def test_other_tools_read_a_sealed_file(tmp_path):
    write_one_hdf5(tmp_path / "a.h5", True)
    write_one_table(tmp_path / "a.parquet")
    shutil.copy(tmp_path / "a.h5", tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5") as stored:
        assert stored["x"].shape == (6, 40)
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 50
