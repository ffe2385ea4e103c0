import math
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError
from circuitlapse.heads import repeated_tokens as module
from circuitlapse.heads.base import Subject
from circuitlapse.heads.repeated_tokens import diagonal_means, draw_repeated, repeated_tokens
from circuitlapse.models.batching import Limits
from tests.planted import FETCH, PREVIOUS, save_planted_model
from tests.unit.heads.words import with_words

INDUCTION, PREV_TOKEN, DUPLICATE = range(3)
S = 100


class Layer(NamedTuple):
    pattern: torch.Tensor


def larger(model, **sizes):
    return replace(model, cfg=replace(model.cfg, **sizes))


def looks_back(n_back, length=S):
    """Attention n places back, and from where there is no such place to the own token."""
    places = torch.arange(2 * length)
    return torch.eye(2 * length)[places - n_back * (places >= n_back)]


@pytest.mark.parametrize(("score", "n_back"), [(INDUCTION, S - 1), (PREV_TOKEN, 1), (DUPLICATE, S)])
def test_a_perfect_head_scores_one_and_no_other_head_does(score, n_back):
    scores = diagonal_means(looks_back(n_back), length=S)
    expected = torch.zeros(3, dtype=torch.double)
    expected[score] = 1
    assert torch.equal(scores, expected)


def test_uniform_attention_has_the_mean_of_the_reciprocals_of_what_is_seen():
    uniform = torch.ones(2 * S, 2 * S).tril()
    scores = diagonal_means(uniform / uniform.sum(1, keepdim=True), length=S)
    before = math.fsum(1 / (q + 1) for q in range(1, 2 * S)) / (2 * S - 1)
    same = math.fsum(1 / (q + 1) for q in range(S, 2 * S)) / S
    expected = torch.tensor([same, before, same], dtype=torch.double)
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=0)
    assert [round(score, 4) for score in scores.tolist()] == [0.0069, 0.0245, 0.0069]


def test_the_end_of_the_first_copy_does_not_count_for_induction():
    pattern = torch.zeros(2 * S, 2 * S)
    pattern[S - 1, 0] = 1
    assert diagonal_means(pattern, length=S)[INDUCTION] == 0


def test_the_measure_of_transformer_lens_is_a_fixed_share_where_all_tokens_differ():
    from transformer_lens import head_detector as theirs

    draw, length = torch.Generator().manual_seed(0), 20
    tokens = torch.randperm(50, generator=draw)[:length].repeat(2)[None]
    pattern = torch.rand(2 * length, 2 * length, generator=draw).tril()
    pattern /= pattern.sum(1, keepdim=True)
    ours = diagonal_means(pattern, length=length)
    shares = {"induction": 0.5, "previous_token": 1 - 0.5 / length, "duplicate_token": 0.5}
    for score, (name, share) in zip(ours.tolist(), shares.items(), strict=True):
        wanted = getattr(theirs, f"get_{name}_head_detection_pattern")(tokens)
        measured = theirs.compute_head_attention_similarity_score(
            pattern,
            wanted,
            exclude_bos=False,
            exclude_current_token=False,
            error_measure="mul",
        )
        assert measured == pytest.approx(share * score, rel=1e-5)


def test_sequences_are_repeated_drawn_from_what_is_allowed_and_decided_by_the_seed():
    allowed = torch.tensor([3, 5, 8])
    drawn, again, other = (
        draw_repeated(allowed, n_sequences=4, length=30, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(drawn[:, :30], drawn[:, 30:])
    assert set(drawn.flatten().tolist()) == {3, 5, 8}
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Heads that look one and three places back, wherever they are."""
    folder = save_planted_model(tmp_path_factory.mktemp("planted") / "model")
    return Subject(with_words(load_decoder(folder), 6), seed=0)


def test_a_planted_head_that_looks_one_place_back_is_a_previous_token_head(planted):
    scores = repeated_tokens(planted, lengths=[3])
    assert scores["prev_token"].values[PREVIOUS] == pytest.approx(1, abs=1e-3)
    assert scores["duplicate"].values[PREVIOUS] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("name", "length"), [("duplicate", 3), ("induction", 4)])
def test_a_planted_head_that_looks_three_places_back_finds_what_is_there(planted, name, length):
    score = repeated_tokens(planted, lengths=[length])[name]
    assert score.values[FETCH] == pytest.approx(1, abs=1e-3)
    assert score.values[PREVIOUS] == pytest.approx(0, abs=1e-3)
    assert (score.n, score.values.shape) == (10, (2, 8))


def test_a_score_is_the_smallest_of_those_at_single_lengths(planted):
    together = repeated_tokens(planted, lengths=[3, 4, 6])
    alone = [repeated_tokens(planted, lengths=[length]) for length in (3, 4, 6)]
    for name, score in together.items():
        each = torch.stack([one[name].values for one in alone])
        assert torch.equal(score.values, each.amin(0))
        assert score.n == 10
    assert alone[1]["induction"].values[FETCH] == pytest.approx(1, abs=1e-3)
    assert together["induction"].values[FETCH] == pytest.approx(0, abs=1e-3)
    assert together["prev_token"].values[PREVIOUS] > 0.85


FIXED, TRUE = range(2)


def attends(tokens):
    """Attention of two heads: 23 places back; and to what came after the same token last time."""
    n = tokens.shape[1]
    back = looks_back(23, n // 2).expand(len(tokens), n, n)
    same = (tokens[:, :, None] == tokens[:, None]) & torch.ones(n, n).tril(-1).bool()
    last = same * torch.arange(1, n + 1)  # [sequence, query, key]
    finds = torch.nn.functional.one_hot((last.amax(2) % n), n).float()
    return torch.stack([back, finds], 1)


def test_a_head_of_fixed_offset_is_no_induction_head_but_at_one_length(planted, monkeypatch):
    monkeypatch.setattr(module, "embed_tokens", lambda _, tokens: tokens)
    monkeypatch.setattr(module, "run_layers", lambda _, tokens: [Layer(attends(tokens))])
    subject = replace(
        planted, model=with_words(larger(planted.model, n_ctx=48, d_vocab=9999), 9999)
    )
    one, three = (
        repeated_tokens(subject, lengths=lengths)["induction"].values[0]
        for lengths in ([24], [12, 16, 24])
    )
    assert one[FIXED] == 1
    assert three[FIXED] == 0
    assert one[TRUE] > 0.98
    assert three[TRUE] > 0.98


def test_scores_do_not_depend_on_the_batches(planted):
    whole = repeated_tokens(planted, n_sequences=5, lengths=[4])
    parts = repeated_tokens(planted, n_sequences=5, lengths=[4], limits=Limits(2))
    for name, score in whole.items():
        torch.testing.assert_close(parts[name].values, score.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [4, 9]}, r"lengths must lie in 2..8, half of the model's context, found 4, 9"),
        ({"lengths": [1, 4]}, r"lengths must lie in 2..8"),
        ({"lengths": []}, "found none"),
        ({"lengths": [4], "n_sequences": 0}, "n_sequences must be at least 1, found 0"),
    ],
)
def test_what_cannot_be_run_is_refused(planted, options, message):
    with pytest.raises(ValueError, match=message):
        repeated_tokens(planted, **options)


def test_a_tokenizer_with_special_tokens_only_is_refused(random_model):
    with pytest.raises(ModelError, match="no tokens but special ones"):
        repeated_tokens(Subject(with_words(random_model, 1), seed=0), lengths=[4])


def test_a_model_without_a_tokenizer_is_refused(random_model):
    with pytest.raises(ModelError, match=r"no tokenizer.json, expected one in the folder"):
        repeated_tokens(Subject(random_model, seed=0), lengths=[4])
