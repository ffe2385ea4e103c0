from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

import pytest

from circuitlapse.manifest.job_record import Manifest, record
from circuitlapse.manifest.differences import Comparison, Expected
from circuitlapse.manifest.repair import repair

JOBS = {"a": (), "b": ("a",), "c": ("b",), "other": ()}
"""What each file is made from."""
FAKE = """
import sys
from circuitlapse.manifest.job_record import record

root, log, text, *arguments = sys.argv[1:]
jobs = {jobs}
made = [one.rpartition("/")[2][:-4] for one in arguments if one.endswith(".txt")]
with open(log, "a") as stream:
    print(*made or ["all"], file=stream)
for name in made or jobs:
    path = f"{{root}}/tables/{{name}}.txt"
    with open(path, "w") as stream:
        stream.write(text + name)
    record(root, name, name, [path], inputs=[f"{{root}}/tables/{{one}}.txt" for one in jobs[name]])
"""


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "results/tables").mkdir(parents=True)
    for name, inputs in JOBS.items():
        (tmp_path / f"results/tables/{name}.txt").write_text(f"the text of {name}")
        files = [tmp_path / f"results/tables/{one}.txt" for one in inputs]
        path = tmp_path / f"results/tables/{name}.txt"
        record(tmp_path / "results", name, name, [path], inputs=files)
    return tmp_path / "results"


def compare(root: Path) -> Comparison:
    final = frozenset(f"tables/{name}.txt" for name in ("c", "other"))
    return Comparison(Manifest.read(root), Expected(final=final))


def runs(root: Path, text: str = "the text of ") -> list[str]:
    """Repair with a stand-in for Snakemake; return what each of its runs was asked for."""
    fake, log = root.parent / "fake.py", root.parent / "log"
    fake.write_text(f"#!{sys.executable}\n" + FAKE.format(jobs=JOBS))
    starter = root.parent / "fake"
    starter.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "{root}" "{log}" "{text}" "$@"\n'
    )
    starter.chmod(0o755)
    log.touch()
    repair(compare(root), [str(starter), "--cores", "1"])
    return log.read_text().splitlines()


def test_only_what_differs_is_made_again_first_what_others_depend_on(root):
    for name in ("a", "c", "other"):
        (root / f"tables/{name}.txt").write_text("x")
    assert runs(root) == ["a other", "c"]
    assert compare(root).differences == []


def test_files_that_are_as_before_get_their_old_times(root):
    """So what was made from them does not look older than they are."""
    (root / "tables/a.txt").write_text("x")
    runs(root)
    times = [(root / f"tables/{name}.txt").stat().st_mtime_ns for name in ("a", "b")]
    assert times[0] <= Manifest.read(root).records["b"].ended_ns
    assert times[0] <= times[1] or times[0] - times[1] < 10**9


def test_if_the_content_is_another_one_all_that_depends_on_it_follows(root):
    (root / "tables/a.txt").write_text("x")
    assert runs(root, text="new text of ") == ["a", "all"]
    assert compare(root).differences == []


def test_nothing_that_no_job_wrote_is_deleted(root):
    (root / "tables/mine.csv").write_text("mine")
    assert runs(root) == []
    (root / "tables/mine.csv").write_text("mine, too")
    runs(root)
    found = {path.read_text() for path in (root / "set_aside/tables").iterdir()}
    assert found == {"mine", "mine, too"}
    assert compare(root).differences == []


def test_a_folder_in_the_place_of_a_file_is_removed(root):
    (root / "tables/b.txt").unlink()
    (root / "tables/b.txt/inside").mkdir(parents=True)
    assert runs(root) == ["b"]
    assert compare(root).differences == []


def test_a_damaged_record_is_written_again_with_its_files(root):
    (root / "manifest/c.json").write_text("{}")
    assert runs(root) == ["c"]
    assert compare(root).differences == []


def test_what_nobody_asks_for_any_more_is_set_aside(root):
    (root / "tables/old.txt").write_text("old")
    (root / "tables/older.txt").write_text("older")
    record(root, "old", "old", [root / "tables/old.txt", root / "tables/older.txt"])
    (root / "tables/old.txt").write_text("damaged")
    assert runs(root) == []
    assert compare(root).differences == []
    assert (root / "set_aside/tables/older.txt").read_text() == "older"


def test_if_snakemake_fails_so_does_the_repair(root):
    shutil.rmtree(root / "tables")
    with pytest.raises(SystemExit, match="1"):
        repair(compare(root), ["false"])


def test_what_was_made_before_the_manifest_is_left_alone(root):
    shutil.rmtree(root / "manifest")
    (root / "report.html").touch()
    record(root, "report", "report", [root / "report.html"])
    assert runs(root) == []
    assert (root / "tables/c.txt").read_text() == "the text of c"


def test_only_what_is_surely_half_written_is_deleted(root, tmp_path):
    """Of what was linked into the results, only what the workflow made counts."""
    (tmp_path / "ext/.git").mkdir(parents=True)
    (root / "mydata").symlink_to(tmp_path / "ext")
    scratch = root / "tables/.a.txt.host.1.2.abcdefgh/a.txt"
    kept = [tmp_path / "ext/.git/HEAD", root / "tables/.DS_Store", root / "transfer/a.parquet"]
    for path in (scratch, *kept):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    runs(root)
    assert not scratch.exists()
    assert all(path.exists() for path in kept)


def test_what_lies_on_another_device_is_moved(root, monkeypatch):
    def rename(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    (root / "tables/mine.csv").write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr("os.rename", rename)
        runs(root)
    assert (root / "set_aside/tables/mine.csv").read_text() == "mine"
    assert not (root / "tables/mine.csv").exists()


def test_what_lies_in_folders_of_jobs_or_in_the_place_of_files_is_kept(root):
    (root / "models/a/step0").mkdir(parents=True)
    (root / "models/a/step0/weights").touch()
    record(root, "train", "train", [root / "models/a/step0"])
    (root / "models/a/step0/weights").unlink()
    (root / "models/a/step0/zebra.txt").write_text("mine")
    (root / "tables/b.txt").unlink()
    (root / "tables/b.txt").mkdir()
    (root / "tables/b.txt/inside").write_text("mine, too")
    runs(root)
    assert (root / "set_aside/models/a/step0/zebra.txt").read_text() == "mine"
    assert (root / "set_aside/tables/b.txt/inside").read_text() == "mine, too"
