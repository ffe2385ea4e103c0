"""What is kept of weights: equal for equal weights, and close to the truth in its cosines."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitlapse.errors import ModelError
from circuitlapse.io.weight_files import fingerprint
from circuitlapse.models.fingerprint import Fingerprint, cosines, matrices

WHERE = {"model": "m", "variant": "v", "step": 1, "tokens": 2}


@pytest.fixture
def changed(random_folder, tmp_path):
    """Return a function that saves the model with its weights changed, and gives its folder."""

    def made(change, name="changed", **metadata):
        folder = tmp_path / name
        shutil.copytree(random_folder, folder)
        weights = change(load_file(folder / "model.safetensors"))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"} | metadata)
        return folder

    return made


def test_equal_weights_have_equal_contents_whatever_their_file(random_folder, changed):
    one = fingerprint(random_folder, WHERE)
    again = fingerprint(changed(lambda weights: weights, note="other bytes"), WHERE)
    assert one.files[0].hash != again.files[0].hash
    assert one.content == again.content
    assert np.allclose(cosines(one, again)[matrices(one)], 1)


def test_one_other_weight_is_another_content(random_folder, changed):
    name = "gpt_neox.layers.0.attention.dense.weight"
    found = fingerprint(changed(lambda w: w | {name: w[name] + 1e-3}), WHERE)
    assert found.content != fingerprint(random_folder, WHERE).content


def test_norms_are_those_of_the_whole_and_cosines_within_the_error_of_the_sample(
    random_folder, changed
):
    torch.manual_seed(0)

    def noisy(weights):
        return {name: w + w.std() * torch.randn_like(w) for name, w in weights.items()}

    folder = changed(noisy)
    one, other = fingerprint(random_folder, WHERE), fingerprint(folder, WHERE)
    a, b = (load_file(path / "model.safetensors") for path in (random_folder, folder))
    found = cosines(one, other)
    for place in matrices(one):
        x, y = a[one.names[place]].ravel().double(), b[one.names[place]].ravel().double()
        assert one.norms[place] == pytest.approx(float(x.norm()), rel=1e-6)
        assert abs(found[place] - float(x @ y / x.norm() / y.norm())) < 4 / 32
    assert len(matrices(one)) >= 10


def test_a_missing_weight_is_refused_by_name(changed):
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    folder = changed(lambda weights: {n: w for n, w in weights.items() if n != name})
    with pytest.raises(ModelError, match=f"has no weight {name}"):
        fingerprint(folder, WHERE)


def test_a_weight_of_zeros_or_of_one_model_only_has_no_cosine():
    def made(names, samples):
        norms = np.ones(len(names))
        return Fingerprint(WHERE, (), names, ("2x2",) * len(names), norms, np.array(samples))

    one = made(("a", "b", "c"), [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    other = made(("a", "b"), [[-1.0, 0.0], [1.0, 0.0]])
    assert np.array_equal(cosines(one, other), [-1, np.nan, np.nan], equal_nan=True)
