from zipfile import ZipFile

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.corpus_files import read_corpus, read_documents, read_tokenizer
from circuitlapse.pocket.corpus import make_tokenizer


def test_files_of_the_workflow_are_read(pocket):
    corpus, tokenizer = read_corpus(pocket / "train.npz"), read_tokenizer(pocket / "tokenizer.json")
    assert set(corpus) == {"sentences"}
    assert corpus["sentences"].max() < tokenizer.get_vocab_size()


@pytest.mark.parametrize("content", [b"", b"half of it"])
@pytest.mark.parametrize(
    ("read", "what"), [(read_corpus, "NumPy archive"), (read_tokenizer, "tokenizer")]
)
def test_a_broken_file_is_named_with_the_remedy(tmp_path, content, read, what):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"a: not a readable {what}: .*; delete it and run"):
        read(tmp_path / "a")


@pytest.fixture(scope="module")
def words():
    """A tokenizer in which every word of these documents is a token of its own."""
    return make_tokenizer(["a b\nc", " d"])


@pytest.mark.parametrize(
    "content",
    [
        b"a b\nc\n\na d\n",
        b"\n\na b\nc\n \t\n\n\na d",
        b"\xef\xbb\xbfa b\r\nc\r\n\r\na d\r\n",
    ],
    ids=["plain", "several blank lines", "written by another system"],
)
def test_blank_lines_separate_documents(tmp_path, words, content):
    (tmp_path / "text.txt").write_bytes(content)
    documents = read_documents(tmp_path / "text.txt", words)
    assert [[words.id_to_token(i) for i in d] for d in documents] == [
        ["a", " b", "\n", "c"],
        ["a", " d"],
    ]


def test_no_begin_of_text_is_added_to_a_document(tmp_path, words):
    from tokenizers.processors import TemplateProcessing

    adding = make_tokenizer(["a b\nc", " d"])
    adding.post_processor = TemplateProcessing(
        "<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    assert adding.encode("a d").ids[0] == 0
    (tmp_path / "text.txt").write_text("a d")
    assert read_documents(tmp_path / "text.txt", adding)[0].tolist() == words.encode("a d").ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "text.txt: no such file"),
        (b"", "text.txt: expected documents separated by blank lines, found no text"),
        (b" \n\n \n", "text.txt: expected documents separated by blank lines, found no text"),
        ("Düsseldorf".encode("latin-1"), "text.txt: not a readable text file in UTF-8: "),
    ],
)
def test_a_text_file_without_text_is_named(tmp_path, words, content, message):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_documents(tmp_path / "text.txt", words)


def test_a_folder_instead_of_a_text_file_is_named(tmp_path, words):
    with pytest.raises(ArtifactError, match="expected a file, found a folder"):
        read_documents(tmp_path, words)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), r"a: found float64 of shape \(3,\), expected a row of uint16"),
        (np.zeros((2, 2), np.uint16), r"a: found uint16 of shape \(2, 2\)"),
        (None, "a: found no array"),
    ],
    ids=["floats", "a matrix", "no array"],
)
def test_a_corpus_of_anything_but_rows_of_tokens_is_refused(tmp_path, array, words):
    with (tmp_path / "a.npz").open("wb") as stream:
        if array is None:
            with ZipFile(stream, "w") as archive:
                archive.writestr("a", "b")
        else:
            np.savez(stream, a=array)
    with pytest.raises(ArtifactError, match=rf"a\.npz: {words}"):
        read_corpus(tmp_path / "a.npz")
