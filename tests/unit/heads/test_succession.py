import logging
import math

import pytest
import torch
from tokenizers import Tokenizer, models

from circuitlapse import load_decoder
from circuitlapse.errors import UnknownNameError
from circuitlapse.heads import succession as module
from circuitlapse.heads.base import Subject
from circuitlapse.heads.succession import succession, succession_lists
from circuitlapse.tasks.words import ORDERED_LISTS
from circuitlapse.types.status import ScoreStatus
from tests.conftest import bridge_of

LETTERS = ORDERED_LISTS["capital_letters"]
N = len(LETTERS)
D_MODEL, N_HEADS = 128, 4
FEATURES = torch.kron(torch.eye(D_MODEL // 2), torch.tensor([[1.0, -1.0]])) / math.sqrt(2)
LETTER, EFFECTIVE = FEATURES[:N], FEATURES[N : 2 * N]
SUCCESSOR, HALF, NOTHING, ITSELF = (1, 2), (1, 0), (0, 1), (0, 3)
"""Heads whose OV maps are set by hand; the others are random."""


def tokenizer_of(*words):
    known = {"[UNK]": 0} | {f" {word}": 1 + at for at, word in enumerate(words)}
    return Tokenizer(models.WordLevel(known, unk_token="[UNK]"))


def subject_of(model):
    return Subject(model, seed=0)


def ov_map(matrix):
    """Return value and output weights of a head that maps EFFECTIVE[x] to LETTER by `matrix`."""
    return EFFECTIVE, LETTER.T @ matrix.T


@torch.no_grad()
def set_weights(model):
    """MLP_0 maps a letter to its EFFECTIVE feature, and only if LN2 turns the sign around."""
    draw = torch.Generator().manual_seed(3)
    model.gpt_neox.embed_in.weight.zero_()[1 : N + 1] = LETTER
    model.get_output_embeddings().weight.zero_()[1 : N + 1] = LETTER
    mlp = model.gpt_neox.layers[0].mlp
    for weight in mlp.parameters():
        weight.zero_()
    mlp.dense_h_to_4h.weight[:N] = -LETTER
    mlp.dense_4h_to_h.weight[:, :N] = EFFECTIVE.T
    model.gpt_neox.layers[0].post_attention_layernorm.weight.fill_(-1)
    up = torch.eye(N).roll(1, 1)
    half = up * (torch.arange(N) < N // 2)[:, None]
    planted = {SUCCESSOR: up, HALF: half, NOTHING: 0 * up, ITSELF: torch.eye(N)}
    for layer, block in enumerate(model.gpt_neox.layers):
        for head in range(N_HEADS):
            matrix = planted.get((layer, head), torch.randn(N, N, generator=draw))
            read, write = ov_map(matrix)
            qkv = block.attention.query_key_value.weight.view(N_HEADS, 3, -1, D_MODEL)
            out = block.attention.dense.weight.view(D_MODEL, N_HEADS, -1)
            qkv[head, 2], out[:, head] = 0, 0
            qkv[head, 2, :N], out[:, head, :N] = read, write


@pytest.fixture(scope="module")
def successor_model(tmp_path_factory):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=N + 6,
        hidden_size=D_MODEL,
        num_hidden_layers=2,
        num_attention_heads=N_HEADS,
        intermediate_size=D_MODEL,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    set_weights(model)
    folder = tmp_path_factory.mktemp("successor") / "model"
    model.save_pretrained(folder)
    return load_decoder(folder)


@pytest.fixture(scope="module")
def letters():
    return tokenizer_of(*LETTERS)


@pytest.fixture(scope="module")
def scored(successor_model, letters):
    return succession(subject_of(successor_model), tokenizer=letters)["succession"]


def test_the_lists_have_288_pairs_of_neighbours():
    sizes = {name: len(words) - 1 for name, words in ORDERED_LISTS.items()}
    assert list(sizes.values()) == [199, 19, 9, 7, 12, 6, 11, 25]
    assert sum(sizes.values()) == 288


def test_every_item_is_one_pythia_token_so_that_no_pair_is_dropped(shared_data):
    pythia = Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))
    lists = succession_lists(pythia)
    assert {name: part.dropped for name, part in lists.items()} == dict.fromkeys(lists, ())
    assert sum(len(part.first) for part in lists.values()) == 288
    days = lists["weekdays"]
    assert len(days.items) == 7
    assert [days.first[-1], days.second[-1]] == [6, 0]
    words = [pythia.decode([int(token)]) for token in lists["ordinals"].items]
    assert words == [f" {word}" for word in ORDERED_LISTS["ordinals"]]


def test_the_successor_head_scores_1(scored):
    assert scored.values[SUCCESSOR] == 1
    assert scored.n == 25
    assert scored.status == ScoreStatus.OK


def test_a_head_that_knows_the_successors_of_the_first_half_scores_its_share(scored):
    assert scored.values[HALF] == pytest.approx(13 / 25)


def test_heads_that_score_all_items_alike_or_repeat_the_item_score_0(scored):
    assert scored.values[NOTHING] == 0
    assert scored.values[ITSELF] == 0


def test_random_heads_score_near_chance(scored):
    random = torch.ones(2, N_HEADS, dtype=torch.bool)
    for at in (SUCCESSOR, HALF, NOTHING, ITSELF):
        random[at] = False
    assert scored.values[random].mean() < 4 / 26


def test_without_ln2_the_mlp_reads_the_embedding_as_it_is(successor_model, letters):
    """Without the sign that LN2 turns around, only a little of GELU's negative side is left."""
    subject = subject_of(successor_model)
    plain = succession(subject, succession_ln="none", tokenizer=letters)["succession"]
    assert plain.values[SUCCESSOR] == 0


def test_scores_are_those_of_a_loop_over_heads_and_pairs(random_model):
    words = ("one", "two", "three", "seven", "eight", "Mon", "Tue", "Wed")
    tokenizer = tokenizer_of(*words)
    subject = subject_of(random_model)
    for name in ("ln2", "none"):
        got = succession(subject, succession_ln=name, tokenizer=tokenizer)["succession"]
        expected = literal_scores(random_model, name)
        torch.testing.assert_close(got.values, expected)
        assert got.n == 5


def test_less_memory_takes_fewer_pairs_at_once(scored, successor_model, letters, monkeypatch):
    hits = module._hits

    def tight(scores, second):
        if len(second) > 4:
            raise torch.OutOfMemoryError
        return hits(scores, second)

    monkeypatch.setattr(module, "_hits", tight)
    found = succession(subject_of(successor_model), tokenizer=letters)["succession"]
    torch.testing.assert_close(found.values, scored.values)


def literal_scores(model, name):
    """Tokens 1, 2, 3, 4, 5 are one, two, three, seven, eight; 6, 7, 8 the short weekdays."""
    model = bridge_of(model)
    block = model.blocks[0]
    expected = torch.zeros(model.cfg.n_layers, model.cfg.n_heads)
    pairs = {(1, 2): range(1, 6), (2, 3): range(1, 6), (4, 5): range(1, 6)}
    pairs |= {(6, 7): range(6, 9), (7, 8): range(6, 9)}
    for (x, y), candidates in pairs.items():
        embed = model.embed.W_E[x].view(1, 1, -1)
        m = block.mlp(block.ln2(embed) if name == "ln2" else embed)[0, 0]
        for layer in range(model.cfg.n_layers):
            attn = model.blocks[layer].attn
            for head in range(model.cfg.n_heads):
                out = m @ attn.W_V[head] @ attn.W_O[head]
                scores = {z: float(out @ model.unembed.W_U[:, z]) for z in candidates}
                expected[layer, head] += max(scores, key=scores.get) == y
    return expected / len(pairs)


def test_neighbours_of_a_dropped_item_are_no_pair_and_the_log_counts_it(random_model, caplog):
    part = succession_lists(tokenizer_of("first", "third", "fourth"))["ordinals"]
    assert part.items.tolist() == [1, 2, 3]
    assert list(zip(part.first.tolist(), part.second.tolist(), strict=True)) == [(1, 2)]
    assert len(part.dropped) == 7
    with caplog.at_level(logging.INFO, logger="circuitlapse"):
        succession(subject_of(random_model), tokenizer=tokenizer_of("first", "third", "fourth"))
    assert "ordinals: 7 words are not one token and are left out; pairs left: 1" in caplog.text


def test_no_pair_left_is_nan(random_model):
    score = succession(subject_of(random_model), tokenizer=tokenizer_of("A", "C"))["succession"]
    assert score.values.isnan().all()
    assert (score.status, score.n) == (ScoreStatus.NO_TOKENS, 0)


def test_an_unknown_layer_norm_names_the_known_ones(random_model):
    with pytest.raises(UnknownNameError, match="ln2, none"):
        succession(subject_of(random_model), succession_ln="ln1")
