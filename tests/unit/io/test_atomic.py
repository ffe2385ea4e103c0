import subprocess
import sys
import textwrap

import pytest

from circuitlapse.io.atomic import atomic_path


def test_a_finished_file_takes_the_place_of_the_old_one(tmp_path):
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


def test_a_folder_takes_the_place_of_an_old_folder(tmp_path):
    target = tmp_path / "step1"
    for name in ("old", "new"):
        with atomic_path(target) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_killed_process_leaves_no_target(tmp_path):
    code = f"""
        import os, signal
        from circuitlapse.io.atomic import atomic_path
        with atomic_path({str(tmp_path / "a.txt")!r}) as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "a.txt").exists()
