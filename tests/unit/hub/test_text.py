import json
import os
import subprocess
import sys

import datasets
import pytest

from circuitlapse.errors import HubError
from circuitlapse.hub.fetch import dataset_texts
from circuitlapse.io.corpus_files import read_documents, write_documents
from circuitlapse.pocket.corpus import make_tokenizer


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
    with pytest.raises(HubError, match=r"nowhere: cannot be read \(.*heads\.text"):
        dataset_texts(str(tmp_path / "nowhere"), n_documents=2, min_letters=1)
    (dataset / "train.jsonl").write_text(json.dumps({"words": "a b"}))
    with pytest.raises(HubError, match="no column 'text'"):
        dataset_texts(str(dataset), n_documents=2, min_letters=1)


def test_without_a_network_the_way_out_is_named():
    """Whatever the cache holds: the library asks the hub when it streams."""
    code = "from circuitlapse.hub.fetch import dataset_texts as texts\n"
    code += "texts('lab/documents', n_documents=1, min_letters=1)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "HubError: dataset lab/documents: cannot be read (" in done.stderr
    assert "name a text file in heads.text" in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        "401 for https://lab:sesame@127.0.0.1/api/datasets/lab/documents",
        "no file https://127.0.0.1/storage/a.parquet?X-Signature=sesame&Expires=9",
        "not a token: hf_sesame",
        "cannot be read\nAuthorization: Bearer hf_sesame",
    ],
)
def test_nothing_secret_is_ever_said_of_a_dataset(monkeypatch, said):
    def refuse(*_, **__):
        raise OSError(said) from ValueError(said)

    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError) as error:
        dataset_texts("lab/documents", n_documents=1, min_letters=1)
    assert error.value.__suppress_context__
    assert "sesame" not in str(error.value)
    assert "OSError: " in str(error.value)
