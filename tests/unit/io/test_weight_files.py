"""Fingerprints come back from disk as they were."""

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import read_attributes
from circuitlapse.io.weight_files import (
    fingerprint,
    keep_fingerprint,
    read_fingerprint,
    write_fingerprint,
)

WHERE = {"model": "m", "variant": "v", "step": 1, "tokens": 2}


def test_a_fingerprint_is_read_as_it_was_written(random_folder, tmp_path):
    path = tmp_path / "weights/m/step1.h5"
    keep_fingerprint(random_folder, path, WHERE)
    made, found = fingerprint(random_folder, WHERE), read_fingerprint(path)
    assert (found.where, found.files, found.content) == (WHERE, made.files, made.content)
    assert np.array_equal(found.samples, made.samples)
    assert read_attributes(path)["model.safetensors_hash"] == made.files[0].hash


def test_a_file_of_another_version_is_refused(random_folder, tmp_path):
    write_fingerprint(tmp_path / "a.h5", fingerprint(random_folder, WHERE), {"files": "x"})
    with pytest.raises(ArtifactError, match=r"b\.h5: no such file"):
        read_fingerprint(tmp_path / "b.h5")
