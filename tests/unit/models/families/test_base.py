"""A configuration or a weight that is not what it should be is refused, never read wrongly."""

import json
import re
import shutil

import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError
from circuitlapse.models.forward import embed_tokens, end_logits, run_layers
from tests import families
from tests.families import edit_config, edit_weights

TOKENS = torch.arange(24).view(3, 8)
NO_EFFECT = {
    "attention_dropout",
    "attn_pdrop",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "hidden_dropout",
    "initializer_range",
    "is_decoder",
    "pad_token_id",
    "pretraining_tp",
    "resid_pdrop",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
"""Keys of training and of generation."""
NAMES = {"architectures", "model_type"}
"""Keys of which transformers needs one and the decoder the other."""


def logits_of(folder):
    model = load_decoder(folder)
    return end_logits(model, run_layers(model, embed_tokens(model, TOKENS))[-1].after[:, -1])


def refusal_of(folder):
    """Return the one sentence with which a folder is refused."""
    with pytest.raises(ModelError) as refused:
        load_decoder(folder)
    message = str(refused.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def right_or_refused(folder, key):
    """Check that a folder loads as in transformers, or that the message names the key."""
    ours, refusal = None, ""
    try:
        ours = logits_of(folder)
    except ModelError as error:
        refusal = str(error)
    if ours is None:
        # Weights that do not fit what the file then describes are named themselves.
        assert key in refusal or "model.safetensors" in refusal, f"{key}: {refusal}"
        return
    try:
        expected = families.hugging_face(folder)(TOKENS).logits[:, -1]
    except Exception:  # transformers refuses more than what would be read wrongly
        return
    gap = (ours - expected).abs().max() / expected.abs().max()
    assert gap < 1e-5, key


def keys_of(folder):
    config = json.loads((folder / "config.json").read_text())
    return sorted(set(config) - NO_EFFECT - NAMES)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("gpt_neox-sequential", "old"),
        ("gpt_neox-no-attention-bias", "new"),
        ("gpt2-untied", "new"),
        ("gpt2-other-norms", "new"),
        ("llama-biases", "new"),
        ("llama-tied", "new"),
        ("llama-linear", "old"),
        ("olmo-clipped", "new"),
        ("olmo2-other-norms", "new"),
        ("qwen2-tied", "old"),
        ("qwen3", "new"),
    ],
)
def test_a_key_that_is_left_out_means_what_it_means_to_transformers(
    family_folder, tmp_path, name, spelling
):
    folder = copy(family_folder(name, spelling=spelling), tmp_path)
    whole = (folder / "config.json").read_text()
    for key in keys_of(folder):
        edit_config(folder, lambda config, key=key: config.pop(key))
        right_or_refused(folder, key)
        (folder / "config.json").write_text(whole)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama", "olmo", "olmo2", "qwen2", "qwen3"])
@pytest.mark.parametrize("value", [None, "many", -1, [2]])
def test_a_value_that_makes_no_sense_is_right_or_refused(family_folder, tmp_path, name, value):
    folder = copy(family_folder(name, spelling="old"), tmp_path)
    whole = (folder / "config.json").read_text()
    for key in keys_of(folder):
        edit_config(folder, lambda config, key=key: config.update({key: value}))
        right_or_refused(folder, key)
        (folder / "config.json").write_text(whole)


def copy(folder, home):
    """Return a folder with links to the same files, but a config.json of its own."""
    made = home / "model"
    made.mkdir()
    for path in folder.iterdir():
        if path.name == "config.json":
            (made / path.name).write_bytes(path.read_bytes())
        else:
            (made / path.name).symlink_to(path)
    return made


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config .* quantised"),
        ("gpt_neox", {"quantization_config": {"bits": 8}}, "quantization_config .* quantised"),
        ("llama", {"num_local_experts": 8}, "num_local_experts is 8.* mixture of experts"),
        ("qwen3", {"num_experts": 4}, "num_experts is 4.* mixture of experts"),
        ("llama", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0.* soft cap"),
        ("olmo2", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0.* soft cap"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False, expected True"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True.* cross-attention"),
        ("gpt_neox", {"hidden_act": "geglu"}, "hidden_act is 'geglu', expected one of gelu"),
        ("gpt2", {"activation_function": "nope"}, "activation_function is 'nope', expected one of"),
        ("llama", {"hidden_act": "swigluoai"}, "hidden_act is 'swigluoai', expected one of"),
        ("llama", {"architectures": ["MixtralForCausalLM"]}, "architectures .*'MixtralForCausalLM"),
        ("llama", {"architectures": []}, "architectures is .*, expected one of GPTNeoXForCausalLM"),
        ("llama", {"num_hidden_layers": 2.5}, "num_hidden_layers is 2.5, expected a whole number"),
        ("llama", {"num_attention_heads": 3}, "num_key_value_heads is 4, .*divisor of the 3 heads"),
        ("llama", {"num_key_value_heads": 3}, "num_key_value_heads is 3, expected a divisor"),
        ("gpt2", {"n_head": 5}, "n_head is 5, expected a divisor of .*32"),
        ("gpt_neox", {"use_parallel_residual": "yes"}, "is 'yes', expected true or false"),
        ("olmo2", {"rms_norm_eps": "tiny"}, "rms_norm_eps is 'tiny', expected a number"),
    ],
)
def test_what_no_family_does_is_refused_by_its_key(
    family_folder, tmp_path, name, changes, expected
):
    folder = copy(family_folder(name), tmp_path)
    edit_config(folder, lambda config: config.update(changes))
    message = refusal_of(folder)
    assert "config.json" in message
    assert re.search(expected, message), message


@pytest.mark.parametrize("name", ["gpt_neox", "llama", "olmo", "olmo2", "qwen2", "qwen3"])
@pytest.mark.parametrize("kind", ["dynamic", "yarn", "llama3", "longrope", "su", 7])
@pytest.mark.parametrize("spelling", families.SPELLINGS)
def test_other_scalings_of_rotary_frequencies_are_refused(
    family_folder, tmp_path, name, kind, spelling
):
    folder = copy(family_folder(name, spelling=spelling), tmp_path)
    section = "rope_parameters" if spelling == "new" else "rope_scaling"
    key = "rope_type" if spelling == "new" else "type"
    values = {key: kind, "factor": 8.0, "rope_theta": 10000.0}
    edit_config(folder, lambda config: config.update({section: values}))
    message = refusal_of(folder)
    assert re.search(rf"type is {kind!r}, expected 'default' or 'linear'", message)


@pytest.mark.parametrize(
    "values",
    [
        {"rope_type": "linear", "rope_theta": 10000.0},
        {"rope_type": "linear", "rope_theta": 10000.0, "factor": 0},
        {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        {"rope_type": "default", "rope_theta": -1.0},
        {"rope_type": "default"},
        {"rope_theta": 500.0},
        {"full_attention": {"rope_type": "default", "rope_theta": 500.0}},
    ],
)
def test_odd_rotary_parameters_are_right_or_refused(family_folder, tmp_path, values):
    folder = copy(family_folder("qwen3"), tmp_path)
    edit_config(folder, lambda config: config.update(rope_parameters=values))
    right_or_refused(
        folder, "factor" if "factor" in str(values) or "linear" in values.values() else "rope"
    )


@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_a_scaling_beside_todays_rotary_parameters_counts(family_folder, tmp_path, key):
    """As a file that was saved anew and then edited by hand: Hugging Face takes the scaling."""
    folder = copy(family_folder("gpt_neox"), tmp_path)
    before, scaling = logits_of(folder), {key: "linear", "factor": 2.0}
    edit_config(folder, lambda config: config.update(rope_scaling=scaling))
    right_or_refused(folder, "rope")
    assert not torch.equal(before, logits_of(folder))


def remove(name):
    return lambda weights: weights.pop(name)


def put(name, weight):
    return lambda weights: weights.update({name: weight})


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [
        (
            "gpt_neox",
            remove("gpt_neox.layers.1.mlp.dense_h_to_4h.weight"),
            r"no weight gpt_neox.layers.1.mlp.dense_h_to_4h.weight \[40, 64\]",
        ),
        ("gpt_neox", remove("embed_out.weight"), r"no weight embed_out.weight \[50, 64\]"),
        (
            "gpt2-bare",
            remove("h.0.attn.c_attn.bias"),
            r"no weight h.0.attn.c_attn.bias \[96\]",
        ),
        (
            "llama-biases",
            remove("model.layers.1.self_attn.k_proj.bias"),
            r"no weight model.layers.1.self_attn.k_proj.bias \[16\]",
        ),
        (
            "olmo2",
            remove("model.layers.0.self_attn.q_norm.weight"),
            r"no weight model.layers.0.self_attn.q_norm.weight \[32\]",
        ),
        ("qwen2", remove("model.norm.weight"), r"no weight model.norm.weight \[32\]"),
        (
            "llama",
            put("model.layers.0.self_attn.q_proj.bias", torch.zeros(32)),
            r"does not have: model.layers.0.self_attn.q_proj.bias \[32\]",
        ),
        (
            "gpt_neox-no-attention-bias",
            put("gpt_neox.layers.1.attention.dense.bias", torch.zeros(64)),
            r"does not have: gpt_neox.layers.1.attention.dense.bias \[64\]",
        ),
        (
            "olmo",
            put("model.norm.weight", torch.ones(32)),
            r"does not have: model.norm.weight \[32\]",
        ),
        (
            "llama-grouped",
            put("model.layers.1.self_attn.k_proj.weight", torch.zeros(32, 32)),
            r"k_proj.weight is \[32, 32\], but config.json makes it \[16, 32\]",
        ),
        (
            "gpt2",
            put("transformer.wpe.weight", torch.zeros(60, 32)),
            r"wpe.weight is \[60, 32\], but config.json makes it \[64, 32\]",
        ),
        (
            "llama-tied",
            put("lm_head.weight", torch.zeros(50, 32)),
            r"tie_word_embeddings .*lm_head.weight",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_named(tmp_path, name, edit, expected):
    folder = families.save(name, tmp_path / "model")
    edit_weights(folder, edit)
    message = refusal_of(folder)
    assert re.search(expected, message), message
    assert "model.safetensors" in message or "config.json" in message


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama", "olmo", "olmo2", "qwen2", "qwen3"])
def test_more_and_fewer_layers_than_weights_are_refused(family_folder, tmp_path, name):
    folder = copy(family_folder(name), tmp_path)
    key = "n_layer" if name == "gpt2" else "num_hidden_layers"
    edit_config(folder, lambda config: config.update({key: 3}))
    assert re.search(r"has no weight .*\.2\..* more; expected", refusal_of(folder))
    edit_config(folder, lambda config: config.update({key: 1}))
    assert re.search(r"does not have: .*\.1\..* more; expected", refusal_of(folder))


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama", "olmo", "olmo2", "qwen2", "qwen3"])
def test_no_weight_can_be_missing_or_renamed(family_folder, tmp_path, name):
    """Every single one is needed, and none that has another name is accepted."""
    folder = families.save(name, tmp_path / "model")
    whole = (folder / "model.safetensors").read_bytes()
    names = []
    edit_weights(folder, lambda weights: names.extend(weights))
    for each in names:
        edit_weights(folder, lambda weights, each=each: weights.pop(each))
        message = refusal_of(folder)
        assert "model.safetensors has no weight " in message
        assert each in message
        (folder / "model.safetensors").write_bytes(whole)


def test_weights_that_are_left_out_of_a_message_are_counted(tmp_path):
    folder = families.save("llama", tmp_path / "model")
    edit_weights(folder, lambda weights: [weights.pop(n) for n in list(weights) if ".1." in n])
    assert re.search(r"has no weight model.layers.1.*, and 6 more; expected", refusal_of(folder))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    folder = families.save("llama", tmp_path / "model")

    def spoil(weights):
        weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value

    edit_weights(folder, spoil)
    message = refusal_of(folder)
    assert re.search(r"model.layers.1.mlp.up_proj.weight .*(not finite|nan|inf)", message, re.I)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_that_are_whole_numbers_are_refused(tmp_path, dtype):
    folder = families.save("gpt_neox", tmp_path / "model")
    name = "gpt_neox.layers.0.attention.dense.weight"
    edit_weights(folder, put(name, torch.ones(64, 64, dtype=dtype)))
    assert re.search(rf"{name} is stored as \w+, expected one of", refusal_of(folder))


@pytest.mark.parametrize(("key", "found"), [("num_hidden_layers", 10**30), ("vocab_size", 2**40)])
def test_a_number_that_takes_all_memory_is_refused_at_once(random_folder, tmp_path, key, found):
    folder = shutil.copytree(random_folder, tmp_path / "model")
    edit_config(folder, lambda config: config.update({key: found}))
    assert re.search(rf"{key} is {found}, expected at most \d+$", refusal_of(folder))
