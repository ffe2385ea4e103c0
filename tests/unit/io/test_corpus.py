import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.corpus import read_tokenizer, read_tokens


def test_what_the_workflow_wrote_is_read(pocket):
    tokens, tokenizer = read_tokens(pocket / "train.npy"), read_tokenizer(pocket / "tokenizer.json")
    assert tokens.max() < tokenizer.get_vocab_size()


@pytest.mark.parametrize("content", [b"", b"half of it"])
@pytest.mark.parametrize(
    ("read", "what"), [(read_tokens, "NumPy file"), (read_tokenizer, "tokenizer")]
)
def test_a_broken_file_is_named_with_the_remedy(tmp_path, content, read, what):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"a: not a readable {what}: .*; delete it and run"):
        read(tmp_path / "a")
