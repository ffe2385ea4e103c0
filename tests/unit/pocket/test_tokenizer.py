from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from circuitlapse.pocket.corpus import as_transformers, make_tokenizer

TEXT = "So Mary isn't here.\nThe war of 1732 is over, isn't it?"
PROMPTS = (
    "Then, Mary and John went to the school. Mary gave a ring to",
    "So Sarah is such a good cook, isn't",
    "The teachers in front of the driver",
)


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return make_tokenizer([TEXT])


def test_decoding_restores_the_text_exactly(small):
    assert small.decode(small.encode(TEXT).ids) == TEXT


def test_a_year_is_its_century_and_its_last_two_digits(small):
    assert small.encode(" 1732 1100").tokens == [" 17", "32", " 11", "00"]


def test_a_space_belongs_to_the_word_after_it(small):
    assert small.encode("isn't it?\nThe").tokens == ["[UNK]", "'t", " it", "?", "\n", "The"]


def test_an_unknown_word_is_one_unknown_token_and_its_neighbours_stay_known(small):
    assert small.encode("The vast war").tokens == ["The", "[UNK]", " war"]


def test_the_order_of_the_text_does_not_matter():
    assert make_tokenizer(["b a", "c"]).to_str() == make_tokenizer(["c", "b a"]).to_str()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_are_cut_as_by_the_pythia_tokenizer(prompt, tokenizer, shared_data):
    pythia = Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))
    assert tokenizer.encode(prompt).tokens == [
        token.replace("Ġ", " ") for token in pythia.encode(prompt, add_special_tokens=False).tokens
    ]


def test_transformers_loads_the_same_tokenizer_from_a_folder(tokenizer, tmp_path: Path):
    as_transformers(tokenizer, context=64).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = PROMPTS[0] + "\n" + PROMPTS[1]
    assert loaded(text).input_ids == tokenizer.encode(text).ids
    assert loaded.decode(loaded(text).input_ids) == text
    assert (loaded.pad_token, loaded.unk_token) == ("<|endoftext|>", "[UNK]")
