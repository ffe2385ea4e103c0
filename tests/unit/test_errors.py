import errno
import json

import pytest

from circuitlapse import errors
from circuitlapse.errors import (
    REMAKE,
    ArtifactError,
    read_json,
    reading,
    require_file,
    unknown_name,
)
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.corpus_files import read_corpus, read_tokenizer
from circuitlapse.io.table_files import read_provenance
from circuitlapse.io.task_files import read_task


@pytest.mark.parametrize(
    "read", [require_file, read_circuit, read_corpus, read_provenance, read_task, read_tokenizer]
)
def test_a_file_that_is_not_there_is_not_called_broken(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError) as error:
        read("nope.file")
    expected = f"nope.file: no such file (relative paths start in {tmp_path})"
    assert str(error.value) == expected


def test_a_folder_is_no_file_and_a_file_passes(tmp_path):
    with pytest.raises(ArtifactError, match="expected a file, found a folder"):
        require_file(tmp_path)
    (tmp_path / "here").touch()
    require_file(tmp_path / "here")


def test_an_unknown_name_is_named_with_the_nearest_and_all_known_ones():
    known = ("prob_diff", "logit_diff")
    message = unknown_name("metric", "logit_dif", known)
    assert message == (
        "unknown metric 'logit_dif'; did you mean 'logit_diff'? (known: logit_diff, prob_diff)"
    )
    assert unknown_name("metric", "zzz", known) == (
        "unknown metric 'zzz' (known: logit_diff, prob_diff)"
    )


def test_what_was_written_comes_back(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"é": [1, None]}), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"é": [1, None]}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"\0" * 20]
)
def test_whatever_is_no_json_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected JSON|Expecting|decode|Invalid"):
        read_json(tmp_path / "a.json")


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "LARGEST_JSON_MB", 1)
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(2 * 2**20)
    with pytest.raises(ValueError, match="expected JSON of at most 1 MB, found 2 MB"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "x"), "cannot be read: Permission denied$"),
        (OSError(errno.ESTALE, "x"), "cannot be read: Stale"),
        (MemoryError(), "needs more memory than there is; give the job more"),
        (OSError("truncated file"), f"not a readable HDF5 file: truncated.*{REMAKE}$"),
    ],
    ids=["not allowed", "stale", "memory", "damaged"],
)
def test_a_file_that_may_be_whole_is_not_to_be_deleted(tmp_path, error, said):
    (tmp_path / "a.h5").touch()
    with pytest.raises(ArtifactError, match=said), reading(tmp_path / "a.h5", "HDF5 file"):
        raise error


def test_memory_that_pytorch_lacks_is_left_to_who_knows_what_was_too_large(tmp_path):
    (tmp_path / "a.h5").touch()
    with pytest.raises(RuntimeError, match="CUDA"), reading(tmp_path / "a.h5", "weights"):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
