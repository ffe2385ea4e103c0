from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from circuitlapse.errors import TaskError
from circuitlapse.io.corpus_files import read_documents, write_documents
from circuitlapse.pocket.corpus import (
    DOCUMENT_SENTENCES,
    REPEATED_LENGTH,
    as_transformers,
    encode_lines,
    make_corpus,
    make_documents,
    make_tokenizer,
)
from circuitlapse.pocket.grammar import PROMPT_STARTS
from circuitlapse.pocket.lines import LINES, make_lines
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.registry import BUILDERS
from tests.unit.tasks.conftest import DEFAULT

TEXT = "So Mary isn't here.\nThe war of 1732 is over, isn't it?"
PROMPTS = (
    "Then, Mary and John went to the school. Mary gave a ring to",
    "So Sarah is such a good cook, isn't",
    "The teachers in front of the driver",
)
SEED = 1


@pytest.mark.parametrize("kind", LINES)
def test_the_tokenizer_knows_every_word_of_any_corpus(kind, tokenizer):
    lines = make_lines(kind, 5000, seed=8)
    tokens = encode_lines(lines, tokenizer)
    assert tokens.dtype == np.uint16
    assert tokenizer.token_to_id("[UNK]") not in tokens
    assert tokenizer.decode(tokens.tolist()) == "".join(f"{line}\n" for line in lines)


def test_the_seed_decides_the_corpus_and_no_kind_of_text_depends_on_another(tokenizer):
    both, one, other = (
        make_corpus(kinds, tokenizer, n_tokens=5000, seed=seed)
        for kinds, seed in ((("couples", "repeats"), 1), (("repeats",), 1), (("repeats",), 2))
    )
    assert list(both) == ["couples", "repeats"]
    assert np.array_equal(both["repeats"], one["repeats"])
    assert not np.array_equal(one["repeats"], other["repeats"])


def test_a_corpus_has_the_tokens_asked_for_in_whole_lines(tokenizer):
    corpus = make_corpus(("sentences", "repeats"), tokenizer, n_tokens=12_345, seed=1)
    for tokens in corpus.values():
        assert tokens.dtype == np.uint16
        assert 12_345 <= len(tokens) < 25_000
        assert tokens[-1] == tokenizer.token_to_id("\n")


@pytest.fixture(scope="module")
def repeated(tokenizer):
    """Returns lines of repeated words without their line ends [line, pos]."""
    tokens = make_corpus(("repeats",), tokenizer, n_tokens=400_000, seed=1)["repeats"]
    lines = tokens.reshape(-1, REPEATED_LENGTH + 1)
    assert (lines[:, -1] == tokenizer.token_to_id("\n")).all()
    return lines[:, :-1].astype(int)


def test_repeated_words_are_words_of_the_vocabulary(repeated, tokenizer):
    assert repeated.min() > tokenizer.token_to_id("\n")  # neither that nor a special token
    assert len(np.unique(repeated)) == tokenizer.get_vocab_size() - 3 - len(PROMPT_STARTS)


def test_some_lines_of_repeated_words_are_loops_of_two_or_three(repeated):
    loops = {p: (repeated[:, p:] == repeated[:, :-p]).all(1) for p in (2, 3)}  # [line]
    assert loops[2].mean() == pytest.approx(0.1, abs=0.02)
    assert loops[3].mean() == pytest.approx(0.05, abs=0.02)


def test_repeated_words_ask_for_what_followed_and_not_for_a_fixed_distance(repeated):
    loop = np.logical_or.reduce([(repeated[:, p:] == repeated[:, :-p]).all(1) for p in (2, 3)])
    lines = repeated[~loop]

    def right_after_the_same(line):
        """Share of words that follow the last earlier occurrence of the word before them."""
        after, right = {}, 0
        for word, following in pairwise(line):
            right += after.get(word) == following
            after[word] = following
        return right / (len(line) - 1)

    induction = np.mean([right_after_the_same(line) for line in lines[:500]])
    at_distance = [(lines[:, d:] == lines[:, :-d]).mean() for d in range(1, 60)]
    assert induction > 0.5
    assert max(at_distance) < induction / 3


@pytest.mark.parametrize("name", DEFAULT)
def test_no_prompt_occurs_in_repeated_words(name, tokenizer):
    """Whatever the words: it would begin with one of those that are left out."""
    n_prompts = None if BUILDERS[name].finite else 200
    frame = build_task(name, tokenizer, builder=name, n_prompts=n_prompts, seed=1).frame
    first = {
        tokenizer.decode([int(ids[0])]) for ids in (*frame.clean_tokens, *frame.corrupted_tokens)
    }
    assert first <= set(PROMPT_STARTS)
    known = tokenizer.get_vocab()
    words = make_corpus(("repeats",), tokenizer, n_tokens=400_000, seed=1)["repeats"]
    assert not {known[word] for word in PROMPT_STARTS} & set(words.tolist())


def test_of_the_further_tasks_the_pocket_suite_can_read_repetition(tokenizer):
    """Its text has no acronyms, code, countries or sums: that is said before anything runs."""
    further = {name: build_or_error(name, tokenizer) for name in BUILDERS if name not in DEFAULT}
    assert isinstance(further.pop("repetition"), Task)
    assert further == {
        "acronyms": "task acronyms: the tokenizer lacks the words of acronyms, or cannot write "
        "their letters",
        "docstring": "task docstring: docstring needs 6 arguments and 7 nouns of one token each, "
        "found 2 and 56",
        "fact_recall": "task fact_recall: fact_recall needs two countries of one token each, whose "
        "capitals are one token too; the tokenizer has 0",
        "two_digit_sum": "task two_digit_sum: the tokenizer has too few two-digit numbers as one "
        "token each, with and without a space in front, as two_digit_sum needs",
    }


def build_or_error(name, tokenizer):
    try:
        return build_task(name, tokenizer, builder=name, n_prompts=40, seed=1)
    except TaskError as error:
        return str(error)


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


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return make_documents(corpus_seed=SEED)


def test_there_are_enough_long_documents_for_a_copy_suppression_score(documents, tokenizer):
    assert len(documents) >= 100 + 17
    assert min(len(tokenizer.encode(text).ids) for text in documents) >= 61
    lines = make_lines("sentences", 9999, seed=2)
    shortest = min(len(tokenizer.encode(f"{line}\n").ids) for line in lines)
    assert shortest * DOCUMENT_SENTENCES > 61


def test_what_is_written_is_read_as_the_same_documents(documents, tokenizer, tmp_path):
    write_documents(tmp_path / "held_out.txt", documents)
    read = read_documents(tmp_path / "held_out.txt", tokenizer)
    assert [tokenizer.decode(ids.tolist()) for ids in read] == documents


def test_the_tokenizer_of_the_suite_knows_every_word(documents, tokenizer):
    unknown = tokenizer.token_to_id("[UNK]")
    assert not [text for text in documents if unknown in tokenizer.encode(text).ids]


def test_few_sentences_and_no_document_come_from_the_corpus(documents):
    corpus = make_lines("sentences", 20_000, seed=SEED)
    known, lines = set(corpus), "\n".join(documents).split("\n")
    assert sum(line in known for line in lines) < 0.15 * len(lines)
    assert not [text for text in documents if text in "\n".join(corpus)]


def test_another_corpus_has_other_held_out_text(documents):
    assert make_documents(corpus_seed=SEED) == documents
    assert not set(make_documents(corpus_seed=SEED + 1)) & set(documents)
