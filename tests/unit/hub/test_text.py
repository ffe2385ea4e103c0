import json

import pytest

from circuitlapse.errors import HubError
from circuitlapse.hub.text import dataset_texts
from circuitlapse.io.corpus import read_documents, write_documents
from circuitlapse.suite.tokenizer import make_tokenizer


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    texts = ["short", "a b c\n\n \nd e f", "g h i j k l", "m n o p q r"]
    lines = [json.dumps({"text": text, "other": 1}) for text in texts]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder


def test_the_first_documents_that_are_long_enough_are_read_back_as_they_were(dataset, tmp_path):
    texts = dataset_texts(str(dataset), n_documents=2, min_letters=8)
    assert texts == ["a b c\nd e f", "g h i j k l"]
    write_documents(tmp_path / "text.txt", texts)
    tokenizer = make_tokenizer([*texts, "\n"])
    documents = read_documents(tmp_path / "text.txt", tokenizer)
    assert [tokenizer.decode(ids.tolist()) for ids in documents] == texts


def test_a_dataset_that_is_not_there_or_not_of_use_is_named(dataset, tmp_path):
    with pytest.raises(HubError, match="no document has 99 letters"):
        dataset_texts(str(dataset), n_documents=2, min_letters=99)
    with pytest.raises(HubError, match="nowhere: cannot be read"):
        dataset_texts(str(tmp_path / "nowhere"), n_documents=2, min_letters=1)
    (dataset / "train.jsonl").write_text(json.dumps({"words": "a b"}))
    with pytest.raises(HubError, match="no column 'text'"):
        dataset_texts(str(dataset), n_documents=2, min_letters=1)
