"""Records that jobs hand on: read back as they were, or refused with one message."""

import json

import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.records import known_records, read_content, read_records, records_text

RECORDS = [{"model": "a", "step": 512, "files": [["b", 1.5, None]]}, {"model": "\u00e9"}]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "records.json"
    path.write_text(records_text(RECORDS))
    return path


def test_records_are_read_back_and_the_same_text_is_written(path):
    assert read_records(path) == known_records(path) == RECORDS
    assert records_text(read_content(path)) == path.read_text()


def test_every_changed_byte_is_refused(path):
    text = path.read_bytes()
    for place in range(len(text) - 1):  # the last one is a line end
        if chr(text[place]).isspace():
            continue
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
        with pytest.raises(ArtifactError, match=r"records\.json: not a readable record: "):
            read_records(path)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "7", "[" * 10**5, json.dumps(RECORDS)])
def test_another_file_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"not a readable record: .*; delete it"):
        read_records(path)


@pytest.mark.parametrize("content", [{"a": 1}, 7, ["a"]])
def test_other_content_than_records_is_refused(path, content):
    path.write_text(records_text(content))
    with pytest.raises(ArtifactError, match="not a readable list of records"):
        read_records(path)


def test_what_is_missing_is_no_record_or_an_error(path):
    path.unlink()
    assert known_records(path) == []
    with pytest.raises(ArtifactError, match="no such file"):
        read_records(path)
    path.mkdir()
    with pytest.raises(ArtifactError, match="found a folder"):
        known_records(path)
