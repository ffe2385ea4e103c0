import pytest
import torch

from circuitlapse.heads.cspa_effect import find_sources, long_enough, predicted


def test_sources_are_the_distinct_tokens_that_are_no_function_words():
    sources = find_sources(torch.tensor([[5, 1, 6, 5], [1, 1, 1, 8]]), {1}, dtype=torch.float32)
    assert sources.tokens.tolist() == [[5, 6], [8, 0]]
    assert sources.at[0].tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    assert sources.at[1].tolist() == [[0, 0], [0, 0], [0, 0], [1, 0]]
    assert sources.seen[0].tolist() == [[True, False], [True, False], [True, True], [True, True]]


def test_a_padded_source_is_nowhere_even_if_its_id_is_in_the_text():
    sources = find_sources(torch.tensor([[2, 3], [0, 0]]), set(), dtype=torch.float32)
    assert sources.tokens.tolist() == [[2, 3], [0, 0]]
    assert sources.at[1].tolist() == [[1, 0], [1, 0]]


def test_a_text_of_function_words_has_no_sources():
    sources = find_sources(torch.tensor([[1, 1]]), {1}, dtype=torch.float32)
    assert not sources.seen.any()
    assert not predicted(torch.zeros(1, 2, 1), sources.seen).any()


def test_one_in_twenty_positions_rounded_up_counts_as_predicted():
    lens = torch.arange(61.0).flip(0).expand(1, 61, 61)
    seen = torch.ones(61, 61).tril().bool()[None]
    counts = predicted(lens, seen).sum(-1)[0]
    assert counts.tolist() == [1] * 20 + [2] * 20 + [3] * 20 + [4]


def test_the_largest_lens_values_of_tokens_seen_are_kept():
    lens = torch.tensor([3.0, 1.0, 2.0, 9.0]).expand(1, 25, 4)
    seen = torch.tensor([True, True, True, False]).expand(1, 25, 4)
    kept = predicted(lens, seen)[0]
    assert kept[0].tolist() == [True, False, False, False]
    assert kept[20].tolist() == [True, False, True, False]


def test_where_fewer_tokens_were_seen_than_may_be_kept_all_of_these_are_kept_and_no_other():
    seen = torch.tensor([False, True, False]).expand(1, 41, 3)
    kept = predicted(torch.zeros(1, 41, 3), seen)[0]
    assert kept[40].tolist() == [False, True, False]


def test_the_first_documents_that_are_long_enough_are_cut_to_size():
    text = [torch.arange(n) for n in (3, 5, 2, 4)]
    assert long_enough(text, 2, n_positions=4).tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    with pytest.raises(ValueError, match="2 of 4"):
        long_enough(text, 3, n_positions=4)
