import subprocess
import sys

import h5py
import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import Dataset, read_attributes, read_hdf5, write_hdf5
from tests import no_locks

DIMS = ("prompt", "d_model")
ROUND = """
import sys
import numpy as np
from circuitlapse.io.hdf5 import Dataset, read_attributes, read_hdf5, write_hdf5
write_hdf5(sys.argv[1], {"x": Dataset(np.arange(3.0), ("d_model",))}, {"seed": 3})
arrays, attributes = read_hdf5(sys.argv[1], {"x": ("d_model",)})
print(arrays["x"].tolist(), attributes, read_attributes(sys.argv[1]))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.h5"
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_hdf5(path, {"x": Dataset(values, DIMS, "logits")}, {"seed": 3})
    return path


def test_what_was_written_comes_back_with_its_attributes(file):
    arrays, attributes = read_hdf5(file, {"x": DIMS})
    assert arrays["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["x"].dtype == np.float32
    assert attributes["seed"] == 3


def test_axes_and_units_can_be_read_by_other_tools(file):
    with h5py.File(file) as stored:
        assert [dim.label for dim in stored["x"].dims] == list(DIMS)
        assert stored["x"].attrs["unit"] == "logits"
        assert stored["x"].chunks == (1, 3)


@pytest.mark.parametrize("compress", [True, False])
def test_a_file_is_compressed_if_asked_and_reads_the_same(tmp_path, compress):
    values = np.zeros((4, 1000))
    write_hdf5(tmp_path / "a.h5", {"x": Dataset(values, DIMS)}, {}, compress=compress)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"].compression == ("gzip" if compress else None)
    assert ((tmp_path / "a.h5").stat().st_size < values.nbytes) == compress
    assert np.array_equal(read_hdf5(tmp_path / "a.h5", {"x": DIMS})[0]["x"], values)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"y": DIMS}, r"a\.h5: no dataset 'y'; found x"),
        ({"x": ("d_model", "prompt")}, r"a\.h5: x: expected axes \('d_model', 'prompt'\), f"),
    ],
)
def test_a_file_that_holds_something_else_is_named(file, wanted, message):
    with pytest.raises(ArtifactError, match=message):
        read_hdf5(file, wanted)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"half")
    with pytest.raises(ArtifactError, match=r"a\.h5: incomplete, .*; delete it and run"):
        read_attributes(tmp_path / "a.h5")


def test_an_array_with_another_number_of_axes_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"x: expected axes .*, found shape \(2,\)"):
        write_hdf5(tmp_path / "a.h5", {"x": Dataset(np.zeros(2), DIMS)}, {})
    assert not (tmp_path / "a.h5").exists()


def test_a_file_system_without_locks_is_enough(tmp_path):
    """Each file has one writer, and changes no more once it has its name."""
    folder = tmp_path / "results"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ROUND, str(folder / "a.h5")],
        env=no_locks.environment(folder, tmp_path),
        capture_output=True,
        text=True,
    )
    read = "{'seed': np.int64(3)}"
    assert done.stdout == f"[0.0, 1.0, 2.0] {read} {read}\n", done.stderr
