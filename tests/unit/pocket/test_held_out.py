import pytest

from circuitlapse.io.corpus_files import read_documents, write_documents
from circuitlapse.pocket.corpus import SENTENCES, make_documents, make_sentences

SEED = 1


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return make_documents(corpus_seed=SEED)


def test_there_are_enough_long_documents_for_a_copy_suppression_score(documents, tokenizer):
    assert len(documents) >= 100 + 17
    assert min(len(tokenizer.encode(text).ids) for text in documents) >= 61
    shortest = min(len(tokenizer.encode(f"{line}\n").ids) for line in make_sentences(9999, seed=2))
    assert shortest * SENTENCES > 61


def test_what_is_written_is_read_as_the_same_documents(documents, tokenizer, tmp_path):
    write_documents(tmp_path / "held_out.txt", documents)
    read = read_documents(tmp_path / "held_out.txt", tokenizer)
    assert [tokenizer.decode(ids.tolist()) for ids in read] == documents


def test_the_tokenizer_of_the_suite_knows_every_word(documents, tokenizer):
    unknown = tokenizer.token_to_id("[UNK]")
    assert not [text for text in documents if unknown in tokenizer.encode(text).ids]


def test_few_sentences_and_no_document_come_from_the_corpus(documents):
    corpus = make_sentences(20_000, seed=SEED)
    known, lines = set(corpus), "\n".join(documents).split("\n")
    assert sum(line in known for line in lines) < 0.15 * len(lines)
    assert not [text for text in documents if text in "\n".join(corpus)]


def test_another_corpus_has_other_held_out_text(documents):
    assert make_documents(corpus_seed=SEED) == documents
    assert not set(make_documents(corpus_seed=SEED + 1)) & set(documents)
