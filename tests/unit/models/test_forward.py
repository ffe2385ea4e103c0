import pytest
import torch
from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM

from circuitlapse import load_decoder
from circuitlapse.models.forward import (
    HeadInputs,
    _at_once,
    _in_turn,
    at_end,
    attend,
    embed_tokens,
    end_logits,
    run_layers,
)
from tests.conftest import save_random_gpt2, save_random_model


@pytest.mark.parametrize(
    "changes",
    [{}, {"use_parallel_residual": False}, {"rotary_pct": 1.0}, {"hidden_act": "gelu_fast"}],
)
def test_the_logits_are_those_of_the_hugging_face_model(tmp_path, random_pairs, changes):
    folder = save_random_model(tmp_path / "model", **changes)
    check_logits(folder, GPTNeoXForCausalLM.from_pretrained(folder), random_pairs)


def test_the_logits_of_a_gpt2_are_those_of_the_hugging_face_model(tmp_path, random_pairs):
    folder = save_random_gpt2(tmp_path / "model")
    check_logits(folder, GPT2LMHeadModel.from_pretrained(folder), random_pairs)


def check_logits(folder, plain, pairs):
    model = load_decoder(folder)
    with torch.no_grad():
        expected = plain.eval()(pairs.clean).logits[torch.arange(9), pairs.end]
        layers = run_layers(model, embed_tokens(model, pairs.clean))
        ours = end_logits(model, at_end(layers[-1].after, pairs.end))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_an_edit_replaces_what_was_computed(random_model, random_pairs):
    embed = embed_tokens(random_model, random_pairs.clean)

    def silence(layer, kind, computed):
        return computed * 0 if (layer, kind) == (1, "z") else computed

    layers = run_layers(random_model, embed, edit=silence)
    bias = random_model.blocks[1].attn.b_O
    torch.testing.assert_close(layers[1].attn_out, bias.expand_as(layers[1].attn_out))
    assert layers[0].z.abs().sum() > 0


def test_chosen_heads_mix_what_they_mix_in_the_whole_layer(random_model, random_pairs):
    layers = run_layers(random_model, embed_tokens(random_model, random_pairs.clean))
    normed = random_model.blocks[1].ln1(layers[1].resid)
    inputs = HeadInputs(heads=[1, 0, 1], query=[normed] * 3, key=[normed] * 3, value=[normed] * 3)
    z = attend(random_model.blocks[1].attn, inputs, end=None)
    expected = layers[1].z.movedim(2, 0)[[1, 0, 1]]
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_bias", [True, False])
def test_products_of_heads_at_once_are_those_in_turn(with_bias):
    """The first is for GPUs, the second for CPUs."""
    inputs, weight = torch.randn(3, 5, 4, 8).unbind(), torch.randn(2, 8, 6)
    bias = torch.randn(2, 6) if with_bias else None
    expected = _in_turn(inputs, weight, [1, 0, 1], bias)
    torch.testing.assert_close(_at_once(inputs, weight, [1, 0, 1], bias), expected)
    torch.testing.assert_close(expected[1], inputs[1] @ weight[0] + (bias[0] if with_bias else 0))


def test_a_query_at_the_end_alone_gives_the_end_of_all_queries(random_model, random_pairs):
    layers = run_layers(random_model, embed_tokens(random_model, random_pairs.clean))
    normed = random_model.blocks[2].ln1(layers[2].resid)
    rows = torch.arange(9)
    last = normed[rows, random_pairs.end][:, None]
    inputs = HeadInputs(heads=[0], query=[last], key=[normed], value=[normed])
    z = attend(random_model.blocks[2].attn, inputs, end=random_pairs.end)[0, :, 0]
    expected = layers[2].z[rows, random_pairs.end, 0]
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-5)
