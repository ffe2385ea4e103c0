import numpy as np
import pytest
import torch

from circuitlapse import attribute_edges, evaluate_circuits, load_decoder, load_model
from circuitlapse.circuits.selection import Circuit, select_circuit
from circuitlapse.errors import ModelError
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.bridge import as_decoder
from circuitlapse.models.load import model_graph
from tests import families

LOADED = [name for name in families.ALGEBRAS if name != families.NOT_IN_TRANSFORMER_LENS]


@pytest.mark.parametrize("name", LOADED)
def test_a_bridge_and_a_decoder_give_the_same_results(family_folder, random_pairs, name):
    folder = family_folder(name)
    bridge, decoder = load_model(folder), load_decoder(folder)
    how = {"metric": "logit_diff"}
    scores = [attribute_edges(m, random_pairs, method="eap", **how) for m in (bridge, decoder)]
    np.testing.assert_allclose(scores[0].values, scores[1].values, rtol=1e-4, atol=1e-6)
    circuits = [Circuit.full(scores[1].graph), select_circuit(scores[1], 20)]
    values = [evaluate_circuits(m, random_pairs, circuits, **how) for m in (bridge, decoder)]
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        logits = bridge(random_pairs.clean, return_type="logits")
    ends = logits[torch.arange(len(random_pairs)), random_pairs.end]
    runs = cache_activations(bridge, random_pairs)
    torch.testing.assert_close(runs.clean.logits_end, ends, rtol=1e-4, atol=1e-4)


def test_a_bridge_has_the_logits_of_transformers_and_asks_for_no_gradient(
    family_folder, random_pairs
):
    bridge = load_model(family_folder("olmo2"))
    with torch.no_grad():
        logits = bridge(random_pairs.clean, return_type="logits")
    expected = families.hugging_face(family_folder("olmo2"))(random_pairs.clean).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not bridge.training
    assert not any(weight.requires_grad for weight in bridge.parameters())


def test_a_bridge_that_a_user_made_is_taken_too(family_folder, random_pairs):
    from transformer_lens.model_bridge import TransformerBridge

    folder = family_folder("qwen3")
    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
    ours = cache_activations(bridge, random_pairs).clean.logits_end
    expected = cache_activations(load_decoder(folder), random_pairs).clean.logits_end
    torch.testing.assert_close(ours, expected)


def test_what_a_bridge_is_asked_for_is_what_its_decoder_says(family_folder):
    bridge = load_model(family_folder("gpt_neox"))
    decoder = as_decoder(bridge)
    assert decoder.n_tokens == families.N_WORDS
    assert model_graph(decoder).parallel


def test_a_decoder_stays_what_it_is_and_that_of_a_bridge_is_kept(family_folder):
    decoder = load_decoder(family_folder("gpt2"))
    assert as_decoder(decoder) is decoder
    bridge = load_model(family_folder("gpt2"))
    assert as_decoder(bridge) is as_decoder(bridge)


def test_a_weight_that_is_changed_in_a_bridge_counts(family_folder, random_pairs):
    bridge = load_model(family_folder("llama-grouped"))
    before = cache_activations(bridge, random_pairs).clean.logits_end
    layer = bridge.original_model.model.layers[1]
    for module in layer.mlp.down_proj.modules():
        for weight in module.parameters(recurse=False):
            weight.zero_()
    after = cache_activations(bridge, random_pairs).clean.logits_end
    with torch.no_grad():
        logits = bridge(random_pairs.clean, return_type="logits")
    ends = logits[torch.arange(len(random_pairs)), random_pairs.end]
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, ends, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", [None, "EleutherAI/pythia-70m", torch.nn.Linear(2, 2)])
def test_another_kind_of_model_is_refused(random_pairs, model):
    with pytest.raises(ModelError, match=rf"model is a {type(model).__name__}, expected .*load_"):
        cache_activations(model, random_pairs)


def test_a_value_that_transformer_lens_cannot_read_is_named(family_folder):
    folder = family_folder(families.NOT_IN_TRANSFORMER_LENS)
    message = r"/config.json: attention_bias is False, expected true, .*; load_decoder reads this"
    with pytest.raises(ModelError, match=message):
        load_model(folder)
    assert load_decoder(folder).cfg.n_layers


def test_what_transformer_lens_cannot_load_is_said(family_folder, monkeypatch):
    from transformer_lens.model_bridge import TransformerBridge

    def boot(*_, **__):
        raise AssertionError

    monkeypatch.setattr(TransformerBridge, "boot_transformers", boot)
    message = r"TransformerLens cannot load it \(AssertionError\); load_decoder can"
    with pytest.raises(ModelError, match=message):
        load_model(family_folder("gpt_neox"))


def test_weights_are_checked_before_transformer_lens_fills_in_random_ones(tmp_path):
    folder = families.save("gpt_neox", tmp_path / "model")
    missing = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    families.edit_weights(folder, lambda weights: weights.pop(missing))
    with pytest.raises(ModelError, match=f"no weight {missing}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight * float("nan"), "holds NaN or infinity, expected finite numbers"),
        (lambda weight: weight.to(torch.int8), "is stored as I8, expected one of F64, F32"),
    ],
)
def test_weights_that_load_decoder_refuses_are_refused(tmp_path, change, message):
    """TransformerLens takes both, and the first sign is a score that is no number."""
    folder = families.save("gpt_neox", tmp_path / "model")
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    families.edit_weights(folder, lambda weights: weights.update({name: change(weights[name])}))
    for load in (load_model, load_decoder):
        with pytest.raises(ModelError, match=f"{name} {message}"):
            load(folder)
