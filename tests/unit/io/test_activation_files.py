from dataclasses import fields, replace

import h5py
import pytest
import torch

from circuitlapse.errors import ArtifactError
from circuitlapse.io.activation_files import read_activations, write_activations
from circuitlapse.models.activations import RunActivations, cache_activations

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


def test_activations_are_not_compressed(tmp_path, runs):
    """Compression takes thirty times as long, and the files are soon deleted."""
    write_activations(tmp_path / "a.h5", runs, ORIGIN, dtype="float32")
    with h5py.File(tmp_path / "a.h5") as file:
        assert {part.compression for part in file["clean"].values()} == {None}


@pytest.mark.parametrize("name", INPUTS)
def test_a_file_of_another_model_or_task_is_refused(tmp_path, runs, name):
    write_activations(tmp_path / "a.h5", runs, ORIGIN, dtype="float16")
    wanted = INPUTS | {name: "other"}
    with pytest.raises(
        ArtifactError, match=rf"a\.h5: expected {name} with hash other, found {INPUTS[name]}; "
    ):
        read_activations(tmp_path / "a.h5", device="cpu", dtype=torch.float32, inputs=wanted)


def with_value(runs, name, prompt, value):
    """Put `value` somewhere into one prompt and the next of the corrupted run."""
    part = getattr(runs.corrupted, name).clone()
    part[prompt : prompt + 2, ..., -1] = value
    return replace(runs, corrupted=replace(runs.corrupted, **{name: part}))


def test_parts_for_metrics_keep_full_precision(tmp_path, runs):
    runs = with_value(runs, "logits_end", 0, 1e5)
    write_activations(tmp_path / "a.h5", runs, ORIGIN, dtype="float16")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["clean/z"].dtype == "float16"
        assert file["clean/logits_end"].dtype == file["clean/resid_end"].dtype == "float32"
    back = read_activations(tmp_path / "a.h5", device="cpu", dtype=torch.float64, inputs=INPUTS)
    for name in ("logits_end", "resid_end"):
        expected = getattr(runs.corrupted, name).double()
        assert torch.equal(getattr(back.corrupted, name), expected)
    assert back.clean.z.dtype == torch.float64
    torch.testing.assert_close(back.clean.z, runs.clean.z.double(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["z", "logits_end"])
def test_nan_and_infinity_are_reported_with_their_prompt(tmp_path, runs, name, value):
    message = rf"a\.h5: corrupted/{name}: found NaN or infinity, first at prompt 4 "
    with pytest.raises(ArtifactError, match=message):
        write_activations(
            tmp_path / "a.h5", with_value(runs, name, 4, value), ORIGIN, dtype="float32"
        )
    assert not list(tmp_path.iterdir())


def test_a_value_too_large_for_half_precision_is_reported_with_its_prompt(tmp_path, runs):
    large = with_value(runs, "mlp_out", 2, -1e5)
    message = (
        r"a\.h5: corrupted/mlp_out: found values up to 1e\+05, too large for float16, .*prompt 2"
    )
    with pytest.raises(ArtifactError, match=message):
        write_activations(tmp_path / "a.h5", large, ORIGIN, dtype="float16")
    write_activations(tmp_path / "a.h5", large, ORIGIN, dtype="float32")
