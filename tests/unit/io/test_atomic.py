import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from circuitlapse import processes
from circuitlapse.errors import ArtifactError
from circuitlapse.io import atomic
from circuitlapse.io.atomic import atomic_path, clear_abandoned


def test_a_finished_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "made" / "a.txt"
    for text in ("old", "new"):
        with atomic_path(target) as scratch:
            scratch.write_text(text)
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as scratch:
            scratch.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_an_old_folder(tmp_path):
    target = tmp_path / "step1"
    for name in ("old", "new"):
        with atomic_path(target) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
    assert [path.name for path in target.iterdir()] == ["new"]


@pytest.mark.parametrize("inside", ["", "model.safetensors"], ids=["file", "folder"])
def test_a_private_file_gets_the_usual_permissions(tmp_path, inside):
    usual, target = tmp_path / "usual", tmp_path / "a"
    usual.touch()
    with atomic_path(target) as scratch:
        file = scratch / inside if inside else scratch
        file.parent.mkdir(exist_ok=True)
        file.touch(mode=0o600)
    made = target / inside if inside else target
    assert made.stat().st_mode == usual.stat().st_mode
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(".")] == []


def test_the_target_of_a_link_keeps_its_permissions(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.touch(mode=0o600)
    with atomic_path(tmp_path / "step1") as scratch:
        scratch.mkdir()
        (scratch / "link").symlink_to(theirs)
    assert (tmp_path / "step1" / "link").readlink() == theirs
    assert theirs.stat().st_mode & 0o777 == 0o600


def killed_while_writing(target):
    code = f"""
        import os, signal
        from circuitlapse.io.atomic import atomic_path, clear_abandoned
        with atomic_path({str(target)!r}) as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -9


def test_a_killed_process_leaves_no_target(tmp_path):
    killed_while_writing(tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()


def test_the_next_writer_deletes_the_scratch_of_a_killed_one(tmp_path):
    for name in ("step3", "step3.h5", "step30"):
        killed_while_writing(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_path(tmp_path / "step3") as scratch:
        scratch.write_text("whole")
    left = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    assert [next(path.iterdir()).name for path in left] == ["step3.h5", "step30"]
    assert (tmp_path / "step3").read_text() == "whole"


@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["file", "folder", "link", "dangling link"])
def test_whatever_is_in_the_way_is_replaced(tmp_path, old, new):
    target, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    if old == "folder":
        (target / "inside").mkdir(parents=True)
    elif old == "file":
        target.write_text("old")
    else:
        target.symlink_to(elsewhere)
        if old == "link":
            elsewhere.mkdir()
            (elsewhere / "theirs").touch()
    with atomic_path(target) as scratch:
        file = scratch if new == "file" else scratch / "inside"
        file.parent.mkdir(exist_ok=True)
        file.write_text("new")
    assert not target.is_symlink()
    assert (target if new == "file" else target / "inside").read_text() == "new"
    assert (elsewhere / "theirs").exists() == (old == "link")
    assert {path.name for path in tmp_path.iterdir()} <= {"a", "elsewhere"}


def test_a_disk_that_refuses_is_one_sentence_and_the_old_file_stays(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as scratch:
            scratch.write_text("half")
            raise OSError(errno.ENOSPC, "as the library calls it")

    with pytest.raises(ArtifactError, match=r"a\.txt: cannot be written: No space left on device$"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ArtifactError, match=r"b: cannot be written: Not a directory$"):
        atomic_path(target / "a/b").__enter__()


def test_a_second_writer_refuses_while_the_first_one_lives(tmp_path):
    with atomic_path(tmp_path / "a") as first:
        first.write_text("first")
        with pytest.raises(ArtifactError, match=rf"a: process {os.getpid()} is writing it"):
            atomic_path(tmp_path / "a").__enter__()
    assert (tmp_path / "a").read_text() == "first"


def test_the_scratch_of_another_machine_is_left_alone_until_it_is_old(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(processes.socket, "gethostname", lambda: "elsewhere")
        killed = atomic_path(tmp_path / "a")
        theirs = killed.__enter__().parent
    with atomic_path(tmp_path / "a") as scratch:
        scratch.touch()
    assert theirs.exists()
    os.utime(theirs, (0, 0))
    with atomic_path(tmp_path / "a") as scratch:
        scratch.touch()
    assert not theirs.exists()


def test_a_run_begins_without_the_scratch_of_dead_writers(tmp_path):
    """Wherever it is; what living writers, or others, made under such names stays."""
    theirs = tmp_path / "elsewhere"
    for target in ("a.txt", "b/c/step3", "b/c/step30.h5"):
        (tmp_path / "results" / target).parent.mkdir(parents=True, exist_ok=True)
        killed_while_writing(tmp_path / "results" / target)
    killed_while_writing(theirs / "a.txt")
    (tmp_path / "results/link").symlink_to(theirs)
    (tmp_path / "results/.hidden").mkdir()
    with atomic_path(tmp_path / "results/b/living") as scratch:
        scratch.write_text("whole")
        clear_abandoned(tmp_path / "results")
    left = {path.name for path in (tmp_path / "results").rglob("*")}
    assert left == {"b", "c", "living", "link", ".hidden"}
    assert [path.name for path in theirs.rglob("*.txt")] == ["a.txt"]
    clear_abandoned(tmp_path / "absent")


def test_a_process_with_the_same_number_is_not_the_writer(tmp_path):
    """Numbers of processes are used again."""
    killed = atomic_path(tmp_path / "a")
    scratch = killed.__enter__().parent
    name, _, rest = scratch.name.rpartition(".")
    start, _, _ = name.rpartition(".")
    scratch.rename(scratch.with_name(f"{start}.17.{rest}"))
    with atomic_path(tmp_path / "a") as new:
        new.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("folder", [False, True])
def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch, folder):
    """What a power cut leaves: names only of synced content."""
    events, target, rename = [], tmp_path / "a", Path.replace

    def sync(descriptor):
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replace(path, to):
        events.append(("name", Path(to).name))
        rename(path, to)

    monkeypatch.setattr(atomic.os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_path(target) as scratch:
        if folder:
            scratch.mkdir()
        (scratch / "inside" if folder else scratch).write_text("new")
    inside = [("sync", "inside")] if folder else []
    assert events == [*inside, ("sync", "a"), ("name", "a"), ("sync", tmp_path.name)]


def test_a_writer_that_is_killed_while_it_replaces_a_folder_leaves_no_half(tmp_path):
    """The old folder, the new one or none, wherever the kill comes."""
    target = tmp_path / "a"
    code = f"""
        import os, shutil, signal, sys
        from circuitlapse.io.atomic import atomic_path, clear_abandoned
        def kill(event, args):
            if event in ("os.rename", "shutil.rmtree", "os.remove", "os.rmdir"):
                kill.left -= 1
                if kill.left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        kill.left = int(sys.argv[1])
        with atomic_path({str(target)!r}) as scratch:
            scratch.mkdir()
            for name in "abc":
                (scratch / name).write_text("new")
            sys.addaudithook(kill)
    """
    seen = set()
    for left in range(12):
        with atomic_path(target) as scratch:
            scratch.mkdir()
            for name in "abc":
                (scratch / name).write_text("old")
        command = [sys.executable, "-c", textwrap.dedent(code), str(left)]
        done = subprocess.run(command, check=False)
        texts = {file.read_text() for file in target.iterdir()} if target.exists() else {"none"}
        assert len(texts) == 1
        assert not target.exists() or len(list(target.iterdir())) == 3
        seen |= texts
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen == {"old", "new", "none"}


def test_the_scratch_of_another_machine_is_kept_while_something_is_written_in_it(tmp_path):
    scratch = tmp_path / ".a.elsewhere.1.1.abcd1234"
    scratch.mkdir()
    (scratch / "a").touch()
    long_ago = time.time() - 2 * atomic.ABANDONED_S
    os.utime(scratch, (long_ago, long_ago))
    clear_abandoned(tmp_path)
    assert scratch.exists()
    os.utime(scratch / "a", (long_ago, long_ago))
    os.utime(scratch, (long_ago, long_ago))
    clear_abandoned(tmp_path)
    assert not scratch.exists()
