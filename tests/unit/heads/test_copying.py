"""The copy scores, on heads set by hand and against a head-by-head calculation."""

from dataclasses import replace

import pytest
import torch

from circuitlapse import PromptPairs, load_decoder, load_model
from circuitlapse.errors import ModelError, UnknownNameError
from circuitlapse.heads.base import Subject
from circuitlapse.heads.copying import copying, count_on_top
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from tests.conftest import bridge_of, save_random, save_random_model
from tests.unit.heads.words import with_words

N_WORDS, N_PADDED, D_HEAD = 20, 24, 24
COPIES, OPPOSES, IDLE, TO_OTHERS = range(4)


def ioi_pairs():
    """Six prompts `io s1 x s2 x`, or `s1 io x s2 x`, of five tokens."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.stack([torch.randperm(N_WORDS - 1, generator=draw)[:4] + 1 for _ in range(6)])
    tokens = tokens[:, [0, 1, 2, 1, 3]]
    tokens[3:, 3] = tokens[3:, 0]
    io = torch.tensor([0, 0, 0, 1, 1, 1])
    roles = {"io": io, "s1": 1 - io, "s2": torch.full((6,), 3)}
    pairs = PromptPairs.from_lists(
        tokens.tolist(), tokens.tolist(), correct=[[1]] * 6, wrong=[[2]] * 6
    )
    return replace(pairs, roles=roles)


@torch.no_grad()
def set_head(layer, head, read, write):
    """Set the value weights [d_head, d_model] and output weights [d_model, d_head] of a head."""
    joint = layer.attention.query_key_value.weight.view(4, 3, D_HEAD, 4 * D_HEAD)
    joint[head, 2] = read
    layer.attention.dense.weight.view(4 * D_HEAD, 4, D_HEAD)[:, head] = write


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A model whose last layer has a head that copies, its opposite, and one that does nothing.

    Token i is the direction (e_2i - e_2i+1) / sqrt(2), in the embedding and in the unembedding.
    The fourth head moves token i to token i + 1.
    """
    from transformers import GPTNeoXForCausalLM

    folder = tmp_path_factory.mktemp("copying") / "model"
    shape = {"vocab_size": N_PADDED, "hidden_size": 4 * D_HEAD, "num_hidden_layers": 2}
    save_random_model(folder, **shape, num_attention_heads=4)
    model = GPTNeoXForCausalLM.from_pretrained(folder)
    tokens = torch.kron(torch.eye(N_PADDED), torch.tensor([[1.0, -1.0]])) / 2**0.5
    tokens = torch.nn.functional.pad(tokens, (0, 4 * D_HEAD - 2 * N_PADDED))
    with torch.no_grad():
        for layer in model.gpt_neox.layers:
            for part in (layer.attention, layer.mlp):
                for weight in part.parameters():
                    weight.zero_()
        model.gpt_neox.embed_in.weight.copy_(tokens)
        model.get_output_embeddings().weight.copy_(tokens)
    last = model.gpt_neox.layers[1]
    set_head(last, COPIES, tokens, tokens.T)
    set_head(last, OPPOSES, tokens, -tokens.T)
    set_head(last, TO_OTHERS, tokens, tokens.roll(-1, 0).T)
    model.save_pretrained(folder)
    return with_words(load_decoder(folder), N_WORDS)


@pytest.mark.parametrize("copy_ln", ["full", "folded"])
def test_a_head_that_copies_has_100_and_its_negative_100_on_the_other_score(planted, copy_ln):
    scores = copying(Subject(planted, 0, ioi_pairs()), copy_ln=copy_ln)
    copy, negative = scores["copy"], scores["copy_neg"]
    assert copy.values[1].tolist()[:3] == [100, 0, 0]
    assert negative.values[1].tolist()[:3] == [0, 100, 0]
    assert (copy.n, negative.n) == (18, 18)


def test_a_head_without_output_has_0_on_both(planted):
    scores = copying(Subject(planted, 0, ioi_pairs()))
    assert not scores["copy"].values[0].any()
    assert not scores["copy_neg"].values[0].any()
    assert not scores["copy"].values[1, IDLE]


def test_five_others_above_are_one_too_many_and_ties_count_as_above():
    unembed = torch.eye(8)
    logits = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 0.0, -1.0])
    found = [
        count_on_top(logits[None, None], torch.tensor([token]), unembed, offset=torch.zeros(8))
        for token in range(8)
    ]
    assert [int(one[0, 0]) for one in found] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert [int(one[1, 0]) for one in found] == [0, 0, 0, 1, 1, 1, 1, 1]


@pytest.fixture(scope="module")
def bumpy(tmp_path_factory):
    """A random model whose LayerNorms have gains and biases; its last rows are padding."""
    from transformers import GPTNeoXForCausalLM

    folder = save_random_model(tmp_path_factory.mktemp("bumpy") / "model", vocab_size=N_PADDED)
    model = GPTNeoXForCausalLM.from_pretrained(folder)
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.5 * torch.randn(weight.shape, generator=draw))
    model.save_pretrained(folder)
    return folder


def on_top(logits, names):
    """Share of names among the five highest logits [name, vocab], in percent."""
    top = logits[:, :N_WORDS].topk(5).indices
    return 100 * (top == names[:, None]).any(1).double().mean().item()


def names_and_places(pairs):
    places = torch.stack([pairs.roles[role] for role in ("io", "s1", "s2")], 1)
    return pairs.clean.gather(1, places).flatten(), places


@torch.no_grad()
def test_full_is_what_each_head_alone_writes_through_the_modules_of_the_model(bumpy):
    model, pairs = with_words(load_decoder(bumpy), N_WORDS), ioi_pairs()
    scores = copying(Subject(model, 0, pairs))
    names, places = names_and_places(pairs)
    bridge = bridge_of(model)
    stream = bridge.original_model(pairs.clean, output_hidden_states=True).hidden_states[1]
    x = stream[torch.arange(6)[:, None], places].flatten(0, 1)
    found = torch.zeros(2, 3, 2)
    for layer, block in enumerate(bridge.blocks):
        value = block.attn.v(block.ln1(x)).unflatten(-1, (2, -1))
        for head in range(2):
            alone = torch.zeros_like(value)
            alone[:, head] = value[:, head]
            output = block.attn.o(alone.flatten(1)) - block.attn.b_O
            output = (output - output.mean(-1, keepdim=True)) * bridge.ln_final.weight
            logits = output @ bridge.unembed.W_U
            found[:, layer, head] = torch.tensor([on_top(logits, names), on_top(-logits, names)])
    assert torch.equal(scores["copy"].values, found[0])
    assert torch.equal(scores["copy_neg"].values, found[1])
    assert 0 < found.mean() < 100


@torch.no_grad()
def test_folded_is_the_plain_product_of_weights_that_transformer_lens_folded(bumpy):
    pairs = ioi_pairs()
    scores = copying(Subject(with_words(load_decoder(bumpy), N_WORDS), 0, pairs), copy_ln="folded")
    folded = load_model(bumpy)
    folded.enable_compatibility_mode(disable_warnings=True)
    _, cache = folded.run_with_cache(pairs.clean)
    names, places = names_and_places(pairs)
    x = cache["blocks.0.hook_resid_post"][torch.arange(6)[:, None], places].flatten(0, 1)
    found = torch.zeros(2, 3, 2)
    for layer, block in enumerate(folded.blocks):
        for head in range(2):
            logits = x @ block.attn.W_V[head] @ block.attn.W_O[head] @ folded.unembed.W_U
            signed = (logits + folded.unembed.b_U, -logits + folded.unembed.b_U)
            found[:, layer, head] = torch.tensor([on_top(one, names) for one in signed])
    assert torch.equal(scores["copy"].values, found[0])
    assert torch.equal(scores["copy_neg"].values, found[1])


@pytest.mark.parametrize("kind", ["parallel", "sequential", "gpt2"])
def test_activations_at_hand_and_batches_change_nothing(tmp_path, kind):
    model = with_words(load_decoder(save_random(kind, tmp_path)), N_WORDS)
    pairs = ioi_pairs()
    clean = cache_activations(model, pairs).clean
    for copy_ln in ("full", "folded"):
        run = copying(Subject(model, 0, pairs), copy_ln=copy_ln, limits=Limits(4))
        read = copying(Subject(model, 0, pairs, clean), copy_ln=copy_ln)
        for name, score in run.items():
            assert torch.equal(read[name].values, score.values)
            assert score.values.any()


def test_names_that_the_tokenizer_lacks_are_refused(bumpy):
    model = with_words(load_decoder(bumpy), 2)
    with pytest.raises(ModelError, match=r"token \d+ of the prompts is beyond the .* has 2;"):
        copying(Subject(model, 0, ioi_pairs()))


def test_a_misspelt_option_and_prompts_without_names_are_refused(planted, random_pairs):
    with pytest.raises(UnknownNameError, match="unknown copy_ln 'fold'; did you mean 'folded'"):
        copying(Subject(planted, 0, ioi_pairs()), copy_ln="fold")
    with pytest.raises(ValueError, match="needs prompt pairs with the roles io, s1, s2"):
        copying(Subject(planted, 0))
    with pytest.raises(ValueError, match=r"lack the roles io, s1, s2; .*, found none"):
        copying(Subject(planted, 0, random_pairs))
