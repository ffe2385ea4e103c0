from dataclasses import replace

import pandas as pd
import pytest
import torch

from circuitlapse import load_decoder, score_heads
from circuitlapse.errors import UnknownNameError
from circuitlapse.heads import repeated_tokens
from circuitlapse.heads.base import HeadScore
from circuitlapse.heads.registry import SCORES
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.schemas import HEAD_SCORES
from circuitlapse.types.status import ScoreStatus
from tests.conftest import bridge_of
from tests.unit.heads.words import with_words


@pytest.fixture(scope="module")
def model(random_folder):
    return with_words(load_decoder(random_folder), 50)


@pytest.fixture
def pairs(random_pairs):
    return replace(random_pairs, roles={role: torch.full((9,), 2) for role in ("io", "s1", "s2")})


def test_the_table_has_a_row_per_score_and_head_as_they_were_asked_for(model, pairs):
    table = score_heads(model, scores=["attn_s1", "prev_token"], pairs=pairs, lengths=[4])
    HEAD_SCORES.check(table, where="score_heads")
    heads = [(layer, head) for layer in range(3) for head in range(2)]
    found = table[["score", "layer", "head"]].itertuples(index=False, name=None)
    assert list(found) == [(score, *head) for score in ("attn_s1", "prev_token") for head in heads]
    assert table["n"].tolist() == [9] * 6 + [10] * 6
    assert set(table["status"]) == {"ok"}
    assert table["value"].between(0, 1).all()


def test_scores_asked_for_together_are_those_asked_for_alone(model, pairs):
    scores = ["duplicate", "copy", "attn_io", "induction", "copy_neg"]
    clean = cache_activations(model, pairs).clean
    how = {"pairs": pairs, "lengths": [4], "seed": 3}
    together = score_heads(model, scores=scores, **how, clean=clean)
    alone = [score_heads(model, scores=[score], **how) for score in scores]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))


def test_a_bridge_is_scored_as_its_decoder(random_model, pairs):
    how = {"scores": ["attn_s1", "copy"], "pairs": pairs}
    found, expected = (
        score_heads(model, **how) for model in (bridge_of(random_model), random_model)
    )
    pd.testing.assert_frame_equal(found, expected)


def test_a_detector_runs_once_for_all_its_scores_and_gets_the_options_it_takes(model, monkeypatch):
    calls = []

    def counted(subject, *, lengths=(1,)):
        calls.append((subject.seed, lengths))
        values = torch.full((3, 2), 0.5)
        values[1, 1] = torch.nan
        score = HeadScore(values, 7, ScoreStatus.NO_EFFECT)
        return dict.fromkeys(("induction", "duplicate"), score)

    monkeypatch.setattr(repeated_tokens, "repeated_tokens", counted)
    table = score_heads(
        model, scores=["duplicate", "induction", "duplicate"], seed=5, lengths=[8], copy_ln="folded"
    )
    assert calls == [(5, [8])]
    assert len(table) == 12
    undefined = table[table["status"] != "ok"]
    assert undefined["value"].isna().all()
    assert set(zip(undefined["status"], undefined["layer"], undefined["head"], strict=True)) == {
        ("no_effect", 1, 1)
    }


def test_a_detector_that_returns_another_name_is_named_with_what_was_expected(model, monkeypatch):
    def misnamed(subject):
        return {"first": HeadScore(torch.zeros(3, 2), 7)}

    monkeypatch.setattr(repeated_tokens, "repeated_tokens", misnamed)
    message = r"test_scoring\..*misnamed returned the scores first; expected induction, duplicate,"
    with pytest.raises(UnknownNameError, match=message):
        score_heads(model, scores=["induction", "duplicate"])


def test_all_scores_can_be_asked_for_at_once(model, pairs):
    text = list(torch.randint(1, 40, (6, 12), generator=torch.Generator().manual_seed(2)))
    sizes = {"lengths": [4], "n_mean": 6, "n_documents": 3, "n_positions": 10}
    table = score_heads(
        model, scores=list(SCORES), pairs=pairs, text=text, limits=Limits(batch_size=4), **sizes
    )
    assert table["score"].unique().tolist() == list(SCORES)
    assert len(table) == 6 * len(SCORES)
    assert (table["value"].isna() == (table["status"] != "ok")).all()
    by_score = table.groupby("score")["status"].agg(set)
    assert by_score["succession"] == {"no_tokens"}
    assert by_score["cspa"] == {"skipped", "ok"}


def test_no_scores_are_a_table_without_rows(model):
    table = score_heads(model, scores=[])
    HEAD_SCORES.check(table, where="score_heads")
    assert table.empty


def test_an_unknown_score_is_refused_with_the_nearest_and_all_that_are_known(model):
    with pytest.raises(UnknownNameError, match=r"'inductoin'; did you mean 'induction'\?") as info:
        score_heads(model, scores=["copy", "inductoin"])
    assert all(name in str(info.value) for name in SCORES)


def test_an_option_that_no_detector_takes_is_refused(model):
    with pytest.raises(UnknownNameError, match=r"'copy_nl'; did you mean 'copy_ln'\?"):
        score_heads(model, scores=["prev_token"], copy_nl="full")


def test_activations_of_other_prompts_are_refused(model, pairs):
    clean = cache_activations(model, pairs).clean
    with pytest.raises(ValueError, match=r"pairs are \(5, 8\) .* clean has \(9, 8\)"):
        score_heads(model, scores=["copy"], pairs=pairs.batch(0, 5), clean=clean)
