"""Every family against transformers: logits, attention, the residual stream and its parts."""

import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError
from circuitlapse.models.forward import embed_tokens, end_logits, run_layers, start_of_stream
from circuitlapse.models.load import n_parameters
from tests import families

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Expected:
    """What transformers says of a model.

    Attributes:
        config: of the model.
        n_parameters: its number of weights.
        logits: of every position [pair, pos, vocab].
        patterns: attention of each layer [pair, head, query, key].
        stream: the residual stream that the last norm reads [pair, pos, d_model].
    """

    def __init__(self, folder, tokens, dtype="float32"):
        model, seen = families.hugging_face(folder, DTYPES[dtype]), []
        names = ("ln_f", "final_layer_norm", "norm")
        last = next(norm for name in names if (norm := getattr(model.base_model, name, None)))
        last.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        output = model(tokens, output_attentions=True)
        self.config, self.n_parameters = model.config, model.num_parameters()
        self.logits, self.patterns, self.stream = output.logits, output.attentions, seen[0]


def run(model, tokens):
    """Return layers and the logits of every position [pair, pos, vocab]."""
    layers = run_layers(model, embed_tokens(model, tokens))
    logits = end_logits(model, layers[-1].after.flatten(0, 1))
    return layers, logits.unflatten(0, tokens.shape)


@pytest.fixture(scope="module", params=families.VARIANTS)
def both(request, family_folder, random_pairs):
    """A decoder of each variant, and what transformers says of it; in float32."""
    folder = family_folder(request.param)
    return load_decoder(folder), Expected(folder, random_pairs.clean)


def assert_near(ours, expected):
    """Compare with the largest number as the measure."""
    gap = (ours - expected).abs().max() / expected.abs().max()
    assert gap < 1e-5


def test_logits_and_attention_are_those_of_transformers(both, random_pairs):
    model, expected = both
    layers, logits = run(model, random_pairs.clean)
    assert_near(logits, expected.logits)
    for layer, pattern in zip(layers, expected.patterns, strict=True):
        torch.testing.assert_close(layer.pattern, pattern, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", families.VARIANTS)
def test_the_keys_of_older_files_mean_the_same_in_double_precision(
    family_folder, random_pairs, name
):
    folder = family_folder(name, spelling="old")
    _, logits = run(load_decoder(folder, dtype="float64"), random_pairs.clean)
    assert logits.dtype == torch.float64
    assert_near(logits, Expected(folder, random_pairs.clean, "float64").logits)


def test_the_stream_is_the_sum_of_what_the_sources_write(both, random_pairs):
    """Embedding, positions, every head's z @ W_O, output biases and MLPs."""
    model, expected = both
    layers, _ = run(model, random_pairs.clean)
    stream = start_of_stream(model, embed_tokens(model, random_pairs.clean))
    for layer, block in zip(layers, model.blocks, strict=True):
        heads = torch.einsum("bthe,hed->btd", layer.z, block.attn.W_O)
        assert_near(heads + block.attn.b_O, layer.attn_out)
        stream = stream + heads + block.attn.b_O + layer.mlp_out
    assert_near(stream, expected.stream)


def test_ports_are_the_products_with_the_weights_of_each_head(both, random_pairs):
    model, _ = both
    layers, _ = run(model, random_pairs.clean)
    for layer, block in zip(layers, model.blocks, strict=True):
        normed, attn = block.ln1(layer.resid), block.attn
        weights = ((attn.W_Q, attn.b_Q), (attn.W_K, attn.b_K), (attn.W_V, attn.b_V))
        for port, (weight, bias) in zip(layer.ports, weights, strict=True):
            assert weight.shape == (model.cfg.n_heads, model.cfg.d_model, model.cfg.d_head)
            assert_near(port, torch.einsum("btd,hde->bthe", normed, weight) + bias)


def test_weights_are_counted_as_transformers_counts_them(both):
    model, expected = both
    assert n_parameters(model) == expected.n_parameters


def test_the_shape_is_that_of_the_configuration(both):
    model, expected = both
    cfg, config, n_heads = model.cfg, expected.config, expected.config.num_attention_heads
    assert cfg.architecture == config.architectures[0]
    assert (cfg.n_layers, cfg.n_heads, cfg.d_model) == (2, 4, config.hidden_size)
    assert cfg.n_kv_heads == getattr(config, "num_key_value_heads", n_heads)
    assert cfg.d_head == (getattr(config, "head_dim", None) or config.hidden_size // n_heads)
    assert (cfg.d_vocab, cfg.n_ctx) == (families.VOCAB, families.CONTEXT)
    assert model.n_tokens == families.N_WORDS
    assert cfg.parallel_attn_mlp == getattr(config, "use_parallel_residual", False)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama-grouped", "olmo2", "qwen3"])
def test_weights_in_bfloat16_are_read_exactly(tmp_path, random_pairs, name):
    folder = families.save(name, tmp_path / "model", dtype=torch.bfloat16)
    _, logits = run(load_decoder(folder), random_pairs.clean)
    assert_near(logits, Expected(folder, random_pairs.clean).logits)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama-tied", "olmo2-grouped"])
def test_sharded_weights_are_those_of_one_file(family_folder, tmp_path, name):
    families.hugging_face(family_folder(name)).save_pretrained(tmp_path, max_shard_size="15KB")
    assert len(list(tmp_path.glob("*-of-*.safetensors"))) > 2
    whole, sharded = load_decoder(family_folder(name)), load_decoder(tmp_path)
    for one, other in zip(whole.weights(), sharded.weights(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama"])
def test_a_prompt_beyond_the_positions_is_refused(tmp_path, random_pairs, name):
    key = "n_positions" if name == "gpt2" else "max_position_embeddings"
    folder = families.save(name, tmp_path / "model", **{key: 7})
    model = load_decoder(folder)
    embed_tokens(model, random_pairs.clean[:, :7])
    with pytest.raises(ModelError, match=rf"8 tokens, but {key} in config.json is 7; expected"):
        embed_tokens(model, random_pairs.clean)


def test_a_token_beyond_the_embedding_is_refused(family_folder, random_pairs):
    tokens = random_pairs.clean.clone()
    tokens[2, 3] = families.VOCAB
    with pytest.raises(ModelError, match=r"token 50, .*embedding has 50 rows"):
        embed_tokens(load_decoder(family_folder("llama")), tokens)
