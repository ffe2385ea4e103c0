"""Llama and its relatives: OLMo, OLMo-2, Qwen2 and Qwen3."""

import re

import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError
from circuitlapse.models.forward import embed_tokens, end_logits, run_layers
from tests import families

TOKENS = torch.arange(24).view(3, 8)


@pytest.mark.parametrize("name", ["llama", "llama-grouped", "llama-multi-query"])
def test_heads_of_a_group_have_copies_of_its_key_and_value(family_folder, name):
    folder = family_folder(name)
    layers = families.hugging_face(folder).model.layers
    n_groups = load_decoder(folder).cfg.n_kv_heads
    for layer, block in zip(layers, load_decoder(folder).blocks, strict=True):
        attn = layer.self_attn
        for ours, module in ((block.attn.W_K, attn.k_proj), (block.attn.W_V, attn.v_proj)):
            groups = module.weight.view(n_groups, 8, 32).transpose(1, 2)
            assert torch.equal(ours, groups.repeat_interleave(4 // n_groups, 0))
        assert torch.equal(block.attn.W_Q, attn.q_proj.weight.view(4, 8, 32).transpose(1, 2))


def test_the_gate_is_not_the_other_half_of_the_mlp(family_folder, random_pairs):
    folder = family_folder("llama-biases")
    mlp = families.hugging_face(folder).model.layers[1].mlp
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(load_decoder(folder).blocks[1].mlp(x), mlp(x))


def test_a_tied_model_that_stores_its_unembedding_holds_it_once(family_folder):
    model = load_decoder(family_folder("llama-tied-head"))
    assert model.unembed is model.embed


def test_a_norm_after_attention_belongs_to_what_heads_write(family_folder, random_pairs):
    """Each head writes gain * (its output) / scale of the outputs of all heads together."""
    folder, tokens = family_folder("olmo2"), random_pairs.clean
    model, plain = load_decoder(folder), families.hugging_face(folder)
    mixed, normed = [], []
    for layer in plain.model.layers:
        layer.self_attn.o_proj.register_forward_pre_hook(lambda module, args: mixed.append(args[0]))
        norm = layer.post_attention_layernorm
        norm.register_forward_hook(lambda module, args, out: normed.append(out))
    plain(tokens)
    layers = run_layers(model, embed_tokens(model, tokens))
    for index, layer in enumerate(layers):
        block = plain.model.layers[index]
        heads = mixed[index].unflatten(-1, (4, 8))
        weight = block.self_attn.o_proj.weight.T.unflatten(0, (4, 8))
        raw = torch.einsum("bthe,hed->bthd", heads, weight)
        scale = (raw.sum(2).square().mean(-1) + 1e-5).sqrt()
        gain = block.post_attention_layernorm.weight
        written = torch.einsum("bthe,hed->bthd", layer.z, model.blocks[index].attn.W_O)
        expected = gain * raw / scale[..., None, None]
        torch.testing.assert_close(written, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.attn_out, normed[index], rtol=1e-4, atol=1e-5)


def test_a_bias_before_the_norm_after_attention_is_refused(tmp_path):
    """It would be divided with the heads, and so belong to no source and change in every run."""
    folder = families.save("olmo2", tmp_path / "model", attention_bias=True)
    with pytest.raises(ModelError, match="attention_bias is True, expected false"):
        load_decoder(folder)


def test_ports_are_not_clipped_but_what_heads_mix_is(family_folder, random_pairs):
    model = load_decoder(family_folder("olmo-clipped"))
    layers = run_layers(model, embed_tokens(model, random_pairs.clean))
    assert all(port.abs().max() > 1 for layer in layers for port in layer.ports)
    assert all(layer.z.abs().max() < 1.00001 for layer in layers)


@pytest.mark.parametrize("limit", [-1.0, "much", [8.0]])
def test_a_limit_that_makes_no_sense_is_refused(tmp_path, limit):
    folder = families.save("olmo-clipped", tmp_path / "model")
    families.edit_config(folder, lambda config: config.update(clip_qkv=limit))
    found = re.escape(repr(limit))
    with pytest.raises(ModelError, match=f"clip_qkv is {found}, expected a number above 0"):
        load_decoder(folder)


def save_with_window(name, folder, **window):
    """Save a model whose configuration names layers as old files do, or says each one's kind."""
    families.save(name, folder, spelling="old")
    families.edit_config(folder, lambda config: (config.pop("layer_types"), config.update(window)))
    return folder


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "layers",
    [{"max_window_layers": 1}, {"layer_types": ["full_attention", "sliding_attention"]}],
)
def test_a_prompt_beyond_the_window_of_a_layer_is_refused(tmp_path, name, layers):
    window = {"use_sliding_window": True, "sliding_window": 7}
    folder = save_with_window(name, tmp_path / "model", **window, **layers)
    model = load_decoder(folder)
    short = TOKENS[:, :7]
    logits = end_logits(model, run_layers(model, embed_tokens(model, short))[-1].after[:, -1])
    expected = families.hugging_face(folder)(short).logits[:, -1]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"8 tokens, but sliding_window in config.json is 7"):
        embed_tokens(model, TOKENS)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "window",
    [
        {"use_sliding_window": False, "sliding_window": 4, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
    ],
)
def test_a_window_that_hides_nothing_does_not_matter(tmp_path, name, window):
    folder = save_with_window(name, tmp_path / "model", **window)
    expected = families.hugging_face(folder)(TOKENS).logits[:, -1]
    model = load_decoder(folder)
    logits = end_logits(model, run_layers(model, embed_tokens(model, TOKENS))[-1].after[:, -1])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_queries_keys_and_values_have_biases_and_the_output_has_none(family_folder):
    for block in load_decoder(family_folder("qwen2")).blocks:
        assert all(bias.any() for bias in (block.attn.b_Q, block.attn.b_K, block.attn.b_V))
        assert not block.attn.b_O.any()
