from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors

from circuitlapse.errors import TaskError
from circuitlapse.tasks.vocabulary import BOS_TOKENS, Vocabulary


def test_a_word_is_single_only_if_it_is_one_known_ordinary_token(pythia: Tokenizer) -> None:
    vocabulary = Vocabulary(pythia)
    assert vocabulary.single_id(" she") == 703  # the ids that Mathwin et al. publish
    assert vocabulary.single_id(" he") == 344
    assert vocabulary.single_id(" Cynthia") is None
    assert vocabulary.single_id("<|endoftext|>") is None
    assert vocabulary.single_id("") is None


def test_an_unknown_word_is_neither_single_nor_known(small: Tokenizer) -> None:
    vocabulary = Vocabulary(small)
    assert vocabulary.single_id(" Mary") is not None
    assert vocabulary.single_id(" Cynthia") is None
    assert vocabulary.knows("So Mary is")
    assert not vocabulary.knows("So Cynthia is")
    assert vocabulary.unknown_parts("So Cynthia is") == (" Cynthia",)


def test_a_tokenizer_that_adds_its_own_first_token_is_kept_from_it(
    make_tokenizer: Callable[..., Tokenizer],
) -> None:
    tokenizer = make_tokenizer("Mary she")
    plain = Vocabulary(make_tokenizer("Mary she"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    assert tokenizer.encode(" she").ids[0] == 0
    assert Vocabulary(tokenizer).single_id(" she") == plain.single_id(" she") != 0


def test_the_position_of_a_span_is_the_token_with_its_last_character(pythia: Tokenizer) -> None:
    text = "So Mary lasted from the year 1732"
    vocabulary = Vocabulary(pythia)
    ids = vocabulary.ids(text)
    assert pythia.decode([ids[vocabulary.position(text, (3, 7))]]) == " Mary"
    assert pythia.decode([ids[vocabulary.position(text, (31, 33))]]) == "32"
    with pytest.raises(ValueError, match="in no token"):
        vocabulary.position(text, (40, 44))


def test_bos_is_looked_up_in_the_tokenizer(pythia: Tokenizer, small: Tokenizer) -> None:
    assert Vocabulary(pythia).bos_id == pythia.token_to_id("<|endoftext|>")
    assert Vocabulary(small).bos_id == small.token_to_id("<bos>")


def test_a_tokenizer_without_bos_is_named_as_the_problem(
    make_tokenizer: Callable[..., Tokenizer],
) -> None:
    vocabulary = Vocabulary(make_tokenizer("Mary", special=("[UNK]",)))
    with pytest.raises(TaskError, match=r"no token that begins a text .* set prepend_bos to false"):
        _ = vocabulary.bos_id


def test_the_hash_follows_the_tokenizer_and_not_the_layout_of_its_file(
    make_tokenizer: Callable[..., Tokenizer], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer("Mary John")
    pretty = tmp_path / "tokenizer.json"
    pretty.write_text(json.dumps(json.loads(tokenizer.to_str()), indent=7))
    assert Vocabulary(Tokenizer.from_file(str(pretty))).hash == Vocabulary(tokenizer).hash
    assert Vocabulary(make_tokenizer("Mary Jane")).hash != Vocabulary(tokenizer).hash


@pytest.mark.parametrize("setting", ["truncation", "padding"])
def test_a_tokenizer_that_cuts_or_pads_texts_is_kept_from_it(
    make_tokenizer: Callable[..., Tokenizer], setting: str
) -> None:
    """Training scripts leave such settings in tokenizer.json; a prompt must stay whole."""
    text = "So Mary is kind she"
    tokenizer, plain = make_tokenizer(text), Vocabulary(make_tokenizer(text))
    if setting == "truncation":
        tokenizer.enable_truncation(max_length=3)
    else:
        tokenizer.enable_padding(length=9)
    vocabulary, before = Vocabulary(tokenizer), tokenizer.to_str()
    assert vocabulary.ids(text) == plain.ids(text)
    assert vocabulary.tokens(text) == plain.tokens(text)
    assert vocabulary.single_id(" she") == plain.single_id(" she")
    assert vocabulary.position(text, (16, 19)) == 4
    assert tokenizer.to_str() == before


def test_settings_that_are_ignored_are_named_in_the_log_once(
    make_tokenizer: Callable[..., Tokenizer], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = make_tokenizer("So Mary is kind")
    tokenizer.enable_truncation(max_length=3, stride=1)
    with caplog.at_level("INFO", logger="circuitlapse"):
        for _ in range(3):
            Vocabulary(tokenizer)
    (line,) = caplog.messages
    assert re.fullmatch(r"the tokenizer's settings .*'max_length': 3.* are ignored: .*", line)


@pytest.mark.parametrize("bos", BOS_TOKENS)
def test_a_begin_of_text_that_a_prompt_has_is_not_added_again(
    make_tokenizer: Callable[..., Tokenizer], bos: str
) -> None:
    vocabulary = Vocabulary(make_tokenizer("So Mary is", special=(bos, "[UNK]")))
    plain = vocabulary.ids("So Mary is")
    expected = [vocabulary.bos_id, *plain]
    assert vocabulary.prompt_ids("So Mary is", prepend_bos=False) == plain
    assert vocabulary.prompt_ids("So Mary is", prepend_bos=True) == expected
    for prepend in (True, False):
        assert vocabulary.prompt_ids(f"{bos}So Mary is", prepend_bos=prepend) == expected
