import subprocess
import sys
import textwrap

import pytest

from circuitlapse.io.atomic import atomic_path


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
        from circuitlapse.io.atomic import atomic_path
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
    left = sorted(path.name.rpartition(".")[0] for path in tmp_path.iterdir() if path.is_dir())
    assert left == [".step3.h5", ".step30"]
    assert (tmp_path / "step3").read_text() == "whole"
