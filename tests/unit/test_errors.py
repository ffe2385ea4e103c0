import pytest

from circuitlapse.errors import ArtifactError, refuse_absent
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.corpus_files import read_tokenizer, read_tokens
from circuitlapse.io.table_files import read_provenance
from circuitlapse.io.task_files import read_task


@pytest.mark.parametrize(
    "read", [refuse_absent, read_circuit, read_provenance, read_task, read_tokenizer, read_tokens]
)
def test_a_file_that_is_not_there_is_not_called_broken(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError) as error:
        read("nope.file")
    expected = f"nope.file: there is no such file; a relative path starts in {tmp_path}"
    assert str(error.value) == expected


def test_a_folder_is_no_file_and_a_file_passes(tmp_path):
    with pytest.raises(ArtifactError, match="there is no such file"):
        refuse_absent(tmp_path)
    (tmp_path / "here").touch()
    refuse_absent(tmp_path / "here")
