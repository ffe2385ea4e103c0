from dataclasses import fields

import pytest
import torch

from circuitlapse.activations import RunActivations, cache_activations
from circuitlapse.errors import ArtifactError
from circuitlapse.io.activations import read_activations, write_activations

INPUTS = {"weights": "w1", "task": "t1"}
ORIGIN = {"weights_hash": "w1", "task_hash": "t1"}


@pytest.fixture(scope="module")
def runs(random_model, random_pairs):
    return cache_activations(random_model, random_pairs)


def test_activations_come_back_bit_for_bit(tmp_path, runs):
    write_activations(tmp_path / "a.h5", runs, ORIGIN, dtype="float32")
    back = read_activations(tmp_path / "a.h5", device="cpu", dtype=torch.float32, inputs=INPUTS)
    for side in ("clean", "corrupted"):
        for field in fields(RunActivations):
            expected = getattr(getattr(runs, side), field.name)
            assert torch.equal(getattr(getattr(back, side), field.name), expected)


@pytest.mark.parametrize("name", INPUTS)
def test_a_file_of_another_model_or_task_is_refused(tmp_path, runs, name):
    write_activations(tmp_path / "a.h5", runs, ORIGIN, dtype="float16")
    wanted = INPUTS | {name: "other"}
    with pytest.raises(ArtifactError, match=rf"a\.h5: made from {name} with hash {INPUTS[name]}"):
        read_activations(tmp_path / "a.h5", device="cpu", dtype=torch.float32, inputs=wanted)
