"""Half precision is for memory on a GPU; it works on a CPU too, so that it can be tested there."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitlapse import attribute_edges, evaluate_circuits, load_decoder, select_circuit

WEIGHTS = "model.safetensors"
EAP = {"metric": "logit_diff", "method": "eap"}


def test_weights_in_half_precision_are_widened_exactly(random_folder, random_pairs, tmp_path):
    """As on a hub; and what is read off the model is float64 in any number format."""
    halves = {name: weight.half() for name, weight in load_file(random_folder / WEIGHTS).items()}
    save_file(halves, tmp_path / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((random_folder / "config.json").read_text())
    config = {**config, "torch_dtype": "float16", "dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for dtype in (torch.float32, torch.bfloat16):
        model = load_decoder(tmp_path, dtype=str(dtype).removeprefix("torch."))
        for name, found in (("gpt_neox.embed_in", model.embed), ("embed_out", model.unembed)):
            assert torch.equal(found, halves[f"{name}.weight"].to(dtype))
        assert model.blocks[0].attn.W_Q.dtype == dtype
        circuits = [select_circuit(attribute_edges(model, random_pairs, **EAP), 10)]
        measured = evaluate_circuits(model, random_pairs, circuits, metric="logit_diff")
        assert measured.dtype == np.float64


@pytest.mark.parametrize("metric", ["logit_diff", "prob_diff", "kl_divergence"])
def test_bfloat16_gives_what_float32_gives_but_for_rounding(random_folder, random_pairs, metric):
    how = {"method": "eap_ig_inputs", "metric": metric, "ig_steps": 4}
    exact, rounded = (load_decoder(random_folder, dtype=d) for d in ("float32", "bfloat16"))
    expected = attribute_edges(exact, random_pairs, **how)
    found = attribute_edges(rounded, random_pairs, **how)
    assert found.values.dtype == np.float64
    edges = expected.graph.exists
    assert np.corrcoef(found.values[edges], expected.values[edges])[0, 1] > 0.98
    circuits = [select_circuit(expected, size) for size in (5, 30, 80)]
    ours, theirs = (
        evaluate_circuits(model, random_pairs, circuits, metric=metric)
        for model in (rounded, exact)
    )
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, atol=0.1 * np.abs(theirs).max())
