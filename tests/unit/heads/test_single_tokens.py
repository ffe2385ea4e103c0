import logging
from collections import Counter

import pytest
from tokenizers import Tokenizer

from circuitlapse import load_decoder
from circuitlapse.heads.single_tokens import FUNCTION_WORDS, plain_tokens, single_tokens
from tests.unit.heads.words import with_words


@pytest.fixture(scope="module")
def tokenizer(shared_data):
    return Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))


def test_no_function_word_is_listed_twice():
    assert [word for word, count in Counter(FUNCTION_WORDS).items() if count > 1] == []


def test_every_spelling_that_is_one_token_is_found(tokenizer):
    found = {
        tokenizer.decode([token], skip_special_tokens=False) for token in single_tokens(tokenizer)
    }
    assert {"the", " the", "The", " The", ".", "\n", "<|endoftext|>"} <= found
    assert not {" John", " bank", "s"} & found


def test_what_is_cut_into_several_tokens_is_left_out_and_counted(tokenizer, caplog):
    with caplog.at_level(logging.INFO, logger="circuitlapse.heads.single_tokens"):
        assert single_tokens(tokenizer, ["of", "hoppelpoppel"]) == {
            tokenizer.token_to_id(token) for token in ("of", "Of", "\u0120of", "\u0120Of")
        }
    assert "8 spellings are 4 single tokens; 4 others are left out" in caplog.text


def test_words_that_a_tokenizer_does_not_know_are_left_out():
    from circuitlapse.pocket.corpus import make_tokenizer

    tokenizer = make_tokenizer(["The war of"])
    found = {tokenizer.id_to_token(token) for token in single_tokens(tokenizer)}
    assert found == {"<|endoftext|>", "\n", "The", " of"}


def test_neither_special_tokens_nor_padding_are_words(random_folder):
    model = with_words(load_decoder(random_folder), 40)
    assert plain_tokens(model).tolist() == list(range(1, 40))


def test_tokens_that_the_model_has_no_row_for_are_no_words(random_folder):
    model = with_words(load_decoder(random_folder), 60)
    assert plain_tokens(model).tolist() == list(range(1, 50))
