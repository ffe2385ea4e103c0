from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from circuitlapse.manifest.job_record import JobRecord, Manifest, record, record_path, recorded_job
from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import write_hdf5
from circuitlapse.io.provenance import PROVENANCE, file_hash
from circuitlapse.io.seal import digest_in
from circuitlapse.manifest import job_record


@pytest.fixture
def snakemake(tmp_path):
    """A job about to write a text and a folder, from a file of the user and a model."""
    (tmp_path / "results/model").mkdir(parents=True)
    (tmp_path / "results/model" / PROVENANCE).write_text("{}")
    (tmp_path / "results/reserved").touch()
    (tmp_path / "my prompts.csv").write_text("mine")
    return SimpleNamespace(
        rule="make",
        log=[str(tmp_path / "results/logs/make/a b.log")],
        output=[str(tmp_path / "results/a.txt"), str(tmp_path / "results/folder")],
        input=[str(tmp_path / f"results/{name}") for name in ("model", "reserved")]
        + [str(tmp_path / "my prompts.csv")],
    )


def run(snakemake, text: str = "some text") -> None:
    with recorded_job(snakemake):
        file, folder = map(job_record.Path, snakemake.output)
        file.write_text(text)
        folder.mkdir(exist_ok=True)
        (folder / "b.txt").write_text("b")
        (folder / job_record.TIMESTAMP).touch()


def test_a_job_says_what_it_wrote_from_what(snakemake, tmp_path):
    run(snakemake)
    results = tmp_path / "results"
    found = JobRecord.read(record_path(results, "make/a b"))
    assert (found.job, found.rule, found.folders) == ("make/a b", "make", ("folder",))
    assert found.outputs == {
        "a.txt": (9, file_hash(results / "a.txt")),
        "folder/b.txt": (1, file_hash(results / "folder/b.txt")),
    }
    assert found.inputs == {
        f"model/{PROVENANCE}": file_hash(results / "model" / PROVENANCE),
        str(tmp_path / "my prompts.csv"): file_hash(tmp_path / "my prompts.csv"),
    }


def test_a_job_that_fails_has_no_record_of_an_earlier_attempt(snakemake, tmp_path):
    """Nobody can say what it has written."""
    run(snakemake)
    with pytest.raises(SystemExit), recorded_job(snakemake):
        raise ArtifactError("no")
    assert Manifest.read(tmp_path / "results").records == {}


def test_no_file_is_hashed_twice(snakemake, monkeypatch, tmp_path):
    """Nor is one that holds its digest."""
    sealed = tmp_path / "results/a.h5"
    snakemake.output.append(str(sealed))

    def write():
        write_hdf5(sealed, {}, {})
        for path in (*snakemake.output[:1], f"{snakemake.output[1]}/b.txt", snakemake.input[2]):
            file_hash(path)
        file_hash(tmp_path / "results/model" / PROVENANCE)

    with recorded_job(snakemake):
        for path in map(job_record.Path, snakemake.output[1:2]):
            path.mkdir()
            (path / "b.txt").write_text("b")
        job_record.Path(snakemake.output[0]).write_text("a")
        write()
        monkeypatch.setattr("circuitlapse.io.provenance.file_hash", None)
    found = JobRecord.read(record_path(tmp_path / "results", "make/a b"))
    assert found.outputs["a.h5"] == (sealed.stat().st_size, digest_in(sealed))


@pytest.mark.parametrize("damage", ["flipped", "emptied", "cut", "folder", "list", "of another"])
def test_a_damaged_record_is_named_and_others_are_read(snakemake, tmp_path, damage):
    run(snakemake)
    results = tmp_path / "results"
    record(results, "whole", "rule", [results / "a.txt"])
    path = record_path(results, "make/a b")
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "of another":
        replace(JobRecord.read(path), job="whole").write(results)
        path.write_bytes(record_path(results, "whole").read_bytes())
    else:
        flipped = content.replace(b"a.txt", b"b.txt", 1)
        cut, listed = content[: len(content) // 2], json.dumps([1]).encode()
        path.write_bytes({"flipped": flipped, "emptied": b"", "cut": cut, "list": listed}[damage])
    found = Manifest.read(results)
    assert [*found.records] == ["whole"]
    (text,) = found.broken.values()
    assert [*found.broken] == ["manifest/make/a b.json"]
    assert "run the workflow" not in text


def test_the_last_job_that_wrote_a_file_counts(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    record(tmp_path, "z_first", "one", [tmp_path / "a.txt"])
    (tmp_path / "a.txt").write_text("new")
    record(tmp_path, "a_second", "other", [tmp_path / "a.txt"])
    assert Manifest.read(tmp_path).writers()["a.txt"].job == "a_second"
