"""The text for heads is read before models are trained or fetched."""

import pytest

from circuitlapse.pocket.corpus import make_documents, make_pocket_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_pocket_tokenizer().save(str(path))
    return path


@pytest.fixture
def check(run_script, tokenizer, tmp_path):
    def run(content: bytes, *, wanted: int = 20) -> str:
        (tmp_path / "text.txt").write_bytes(content)
        params = {"n_mean": wanted, "n_documents": 2, "n_positions": 61}
        inputs = {"text": tmp_path / "text.txt", "tokenizer": tokenizer}
        return run_script("check_inputs", inputs=inputs, output=[], params=params)

    return run


TEXT = "\n\n".join(make_documents(20, corpus_seed=0)).encode()


def test_a_text_with_enough_long_documents_passes(check):
    assert "text.txt: 20 documents" in check(TEXT)


@pytest.mark.parametrize(
    ("content", "wanted", "words"),
    [
        (TEXT, 21, r"text\.txt: found 20 documents of at least heads\.n_positions = 61 tokens"),
        (TEXT.replace(b"\n\n", b"\n"), 2, "found 1 documents .* expected heads.n_mean = 2"),
        (b"\xff" + TEXT, 2, "not a readable text file in UTF-8"),
        (b" \n\n ", 2, "found no text"),
        (b"", 2, "found no text"),
    ],
)
def test_a_text_that_cannot_do_is_refused(check, content, wanted, words):
    with pytest.raises(SystemExit, match=words):
        check(content, wanted=wanted)
