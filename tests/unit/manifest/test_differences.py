from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from circuitlapse.manifest.job_record import Manifest, record
from circuitlapse.errors import ArtifactError
from circuitlapse.io.hdf5 import write_hdf5
from circuitlapse.io.provenance import write_provenance
from circuitlapse.manifest.differences import Comparison, Expected, refuse_replaced_inputs


@pytest.fixture
def results(tmp_path) -> Path:
    """What four jobs wrote: a model, its circuit, activations and a table."""
    root = tmp_path / "results"
    for folder in ("models/a/step0", "circuits/a/ioi", "activations/a/ioi", "tables"):
        (root / folder).mkdir(parents=True)
    model = root / "models/a/step0"
    for name in ("provenance.json", "model.safetensors"):
        (model / name).write_text(name)
    record(root, "train", "train", [model])
    circuit, cached = root / "circuits/a/ioi/step0.h5", root / "activations/a/ioi/step0.h5"
    write_hdf5(cached, {}, {"of": "activations"})
    record(root, "cache", "cache", [cached], inputs=[model])
    write_hdf5(circuit, {}, {"of": "circuit"})
    record(root, "discover", "discover", [circuit], inputs=[model, cached])
    (root / "tables/odd \u00fc name.csv").write_text("1,2,3")
    record(root, "table", "table", [root / "tables/odd \u00fc name.csv"], inputs=[circuit])
    return root


TABLE = "tables/odd \u00fc name.csv"
CIRCUIT = "circuits/a/ioi/step0.h5"
CACHED = "activations/a/ioi/step0.h5"
WEIGHTS = "models/a/step0/model.safetensors"
EXPECTED = Expected(final=frozenset({TABLE}), deleted=("activations/{model}/{task}/step{step}.h5",))


def found(results: Path, expected: Expected = EXPECTED) -> dict[str, str]:
    differences = Comparison(Manifest.read(results), expected).differences
    return dict(str(one).split(": ", 1) for one in differences)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_nothing_differs_in_a_finished_run(results):
    assert found(results) == {}
    assert Comparison(Manifest.read(results), EXPECTED).n_files == 5


@pytest.mark.parametrize("path", [TABLE, CIRCUIT, CACHED, WEIGHTS])
def test_one_bit_is_found_in_every_kind_of_file(results, path):
    flip(results / path)
    assert found(results).keys() == {path}
    assert found(results)[path].startswith("changed")


@pytest.mark.parametrize("path", [TABLE, CIRCUIT, WEIGHTS])
def test_what_is_missing_is_named_with_the_rule_that_makes_it(results, path):
    (results / path).unlink()
    rules = {TABLE: "table", CIRCUIT: "discover", WEIGHTS: "train"}
    assert found(results) == {path: f"missing; made by {rules[path]}"}


def test_what_the_workflow_deletes_after_use_is_not_missing(results):
    (results / CACHED).unlink()
    assert found(results) == {}
    kept = Expected(EXPECTED.final)
    assert found(results, kept) == {CACHED: "missing; made by cache"}


def test_a_folder_that_is_deleted_after_use_is_whole_or_absent(results):
    expected = Expected(EXPECTED.final, deleted=("models/{model}/step{step}",))
    (results / WEIGHTS).unlink()
    assert found(results, expected) == {WEIGHTS: "missing; made by train"}
    shutil.rmtree(results / "models/a/step0")
    assert found(results, expected) == {}


@pytest.mark.parametrize("path", [TABLE, CIRCUIT, WEIGHTS])
def test_a_file_of_another_size_or_kind_is_named_as_such(results, path):
    size = (results / path).stat().st_size
    (results / path).write_bytes(b"x")
    assert found(results) == {path: f"of another size: 1 bytes, expected {size}"}
    (results / path).unlink()
    (results / path).mkdir()
    (results / path / "inside").touch()
    assert found(results) == {path: "a folder, expected a file"}
    (results / path).joinpath("inside").unlink()
    (results / path).rmdir()
    (results / path).symlink_to(results / "nowhere")
    assert found(results) == {path: "a link that leads nowhere"}
    (results / path).unlink()
    os.mkfifo(results / path)
    assert found(results) == {path: "no regular file"}


def test_a_whole_file_of_another_run_is_named_as_such(results):
    write_hdf5(results / CIRCUIT, {}, {"of": "another"})
    (text,) = found(results).values()
    assert text.startswith(("of another run", "of another size"))
    write_hdf5(results / CIRCUIT, {}, {"of": "CIRCUIT"})
    assert found(results)[CIRCUIT].startswith("of another run: whole")


def test_what_was_made_from_a_file_of_another_run_is_named(results):
    """The circuit was made again, and the table was not."""
    write_hdf5(results / CIRCUIT, {}, {"of": "another"})
    record(results, "discover", "discover", [results / CIRCUIT])
    assert found(results) == {TABLE: f"of another run: made from {CIRCUIT} with other content"}


def test_what_no_job_wrote_is_unknown(results):
    (results / "tables/mine\n\udcff.csv").touch()
    (results / "tables/link").symlink_to(results / TABLE)
    (results / "logs").mkdir()
    (results / "logs/a.log").touch()
    assert found(results) == dict.fromkeys(
        ["tables/mine\\n\\udcff.csv", "tables/link"], "unknown to the manifest"
    )


def test_scratch_and_parts_of_stopped_jobs_are_half_written(results):
    scratch, part = "tables/.a.csv.host.1.2.abcdefgh/a.csv", "transfer/a/step0.parquet"
    for path in (scratch, part):
        (results / path).parent.mkdir(parents=True)
        (results / path).touch()
    text = "half-written, by a job that was stopped"
    assert found(results) == dict.fromkeys([scratch, part], text)


def test_what_is_asked_for_and_was_never_made_is_missing(results):
    expected = Expected(final=frozenset({TABLE, "figures/a.png"}))
    assert found(results, expected) == {"figures/a.png": "missing; no record says that it was made"}


def test_if_a_record_is_lost_with_its_files_they_are_missing(results):
    (results / "manifest/discover.json").unlink()
    (results / CIRCUIT).unlink()
    assert found(results) == {CIRCUIT: "missing; no record says that it was made"}


def test_results_that_are_no_longer_asked_for_may_be_deleted_as_a_whole(results):
    for name in "bc":
        (results / f"tables/{name}.csv").touch()
    record(results, "old", "old", [results / f"tables/{name}.csv" for name in "bc"])
    (results / "tables/b.csv").unlink()
    assert found(results) == {"tables/b.csv": "missing; made by old"}
    (results / "tables/c.csv").unlink()
    assert found(results) == {}


def test_results_may_lie_behind_links(results, tmp_path):
    (results / "models").rename(tmp_path / "elsewhere")
    (results / "models").symlink_to(tmp_path / "elsewhere")
    (results / "tables/above").symlink_to(results)
    assert found(results) == {}
    flip(results / WEIGHTS)
    assert found(results).keys() == {WEIGHTS}


def test_a_folder_may_vanish_while_it_is_looked_at(results, monkeypatch):
    gone, walk = results / "tables/gone", os.walk
    gone.mkdir()

    def vanishing(*args, **options):
        for found in walk(*args, **options):
            if found[0] == str(gone):
                gone.rmdir()
            yield found

    monkeypatch.setattr(os, "walk", vanishing)
    assert found(results) == {}


def test_in_the_working_directory_only_results_are_looked_at(results, monkeypatch):
    monkeypatch.chdir(results)
    Path("notes.txt").touch()
    Path("tables/b.csv").touch()
    assert found(Path()) == {"tables/b.csv": "unknown to the manifest"}


@pytest.mark.parametrize("old_times", [False, True], ids=["now", "old times"])
def test_a_whole_input_of_another_run_is_refused_before_it_is_read(results, tmp_path, old_times):
    refuse_replaced_inputs(results)
    for path, content in ((CIRCUIT, None), (Path(WEIGHTS).with_name("provenance.json"), "other")):
        other, place = tmp_path / "other", results / path
        write_hdf5(other, {}, {"of": "another"}) if content is None else other.write_text(content)
        if old_times:
            shutil.copystat(place, other)
        kept = place.rename(tmp_path / "kept")
        other.rename(place)
        with pytest.raises(
            ArtifactError, match=f"{place.name}: not as it was written\\n.*REPAIR=1"
        ):
            refuse_replaced_inputs(results)
        kept.rename(place)
    refuse_replaced_inputs(results)


def test_what_no_job_reads_and_what_is_damaged_is_left_to_others(results):
    (results / TABLE).write_text("4,5")
    flip(results / CIRCUIT)
    refuse_replaced_inputs(results)


def test_at_most_twenty_inputs_are_named(results):
    paths = [results / f"tables/{place}.txt" for place in range(30)]
    for path in paths:
        path.write_text("as written")
        record(results, path.stem, "table", [path])
    record(results, "last", "last", [], inputs=paths)
    for path in paths:
        path.write_text("another")
    with pytest.raises(ArtifactError) as error:
        refuse_replaced_inputs(results)
    assert str(error.value).count("not as it was written") == 20
    assert "and 10 more" in str(error.value)


def test_files_of_the_user_are_neither_named_nor_reached_through_links(results, tmp_path):
    (tmp_path / "ext/.git").mkdir(parents=True)
    for path in ("ext/.git/HEAD", "ext/thesis.txt"):
        (tmp_path / path).touch()
    for link in ("mydata", "tables/mine"):
        (results / link).symlink_to(tmp_path / "ext")
    for path in (".gitignore", "notes.txt", "tables/.DS_Store", "transfer/.keep"):
        (results / path).parent.mkdir(exist_ok=True)
        (results / path).touch()
    assert found(results) == {}


def test_parts_of_a_download_are_half_written(results):
    part = results / "models/a/.step1.parts/0.part"
    part.parent.mkdir()
    part.touch()
    assert [*found(results)] == ["models/a/.step1.parts/0.part"]


def test_what_lies_beside_left_over_folders_is_not_half_written(results):
    (results / "transfer").mkdir()
    for name in ("a.parquet", "notes.txt"):
        (results / "transfer" / name).touch()
    assert found(results) == {
        "transfer/a.parquet": "no record: made before the manifest",
        "transfer/notes.txt": "unknown to the manifest",
    }


def test_results_without_records_were_made_before_the_manifest(results):
    shutil.rmtree(results / "manifest")
    (results / "report.html").touch()
    record(results, "report", "report", [results / "report.html"])
    model = "models/a/step0/provenance.json"
    assert found(results) == dict.fromkeys(
        [TABLE, CIRCUIT, CACHED, WEIGHTS, model], "no record: made before the manifest"
    )


def model_of(code: str, weights: str, root: Path) -> Path:
    """Write a model as a version of the code would fetch it."""
    folder = root / "models/a/step0"
    (folder / "model.safetensors").write_text(weights)
    made_by = {"settings": "{}", "code_hash": code}
    write_provenance(folder / "provenance.json", made_by, [folder / "model.safetensors"])
    return folder


@pytest.mark.parametrize("same", [True, False])
def test_a_model_that_was_fetched_again_is_the_same_if_its_weights_are(results, same):
    record(results, "train", "train", [model := model_of("old", "weights", results)])
    for job, path in (("cache", CACHED), ("discover", CIRCUIT)):
        record(results, job, job, [results / path], inputs=[model])
    record(results, "table", "table", [results / TABLE], inputs=[results / CIRCUIT])
    assert found(results) == {}
    model_of("new", "weights" if same else "WEIGHTS", results)
    if same:
        refuse_replaced_inputs(results)
    else:
        with pytest.raises(ArtifactError, match=r"provenance\.json: not as it was written"):
            refuse_replaced_inputs(results)
    record(results, "train", "train", [model])
    assert found(results).keys() == (set() if same else {CACHED, CIRCUIT})
