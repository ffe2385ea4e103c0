import json
import subprocess
import sys
import time

import psutil
import pytest

from circuitlapse.processes import RUN, Process, active_run, note_run


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noted(**changed):
    RUN.parent.mkdir(exist_ok=True)
    RUN.write_text(json.dumps(Process.this()._asdict() | changed))


def test_a_folder_without_a_run_is_free():
    assert active_run() == ""


def test_a_living_run_is_named_with_how_to_end_it():
    note_run()
    found = active_run()
    assert f"process {Process.this().pid} on " in found
    assert f"kill -INT {Process.this().pid}" in found


def test_a_run_that_has_ended_leaves_the_folder_free():
    subprocess.run(
        [sys.executable, "-c", "from circuitlapse.processes import note_run; note_run()"],
        check=True,
    )
    assert RUN.exists()
    assert active_run() == ""


def test_a_process_that_ended_unnoticed_does_not_live():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = int(psutil.Process(child.pid).create_time())
    process = Process(Process.this().host, child.pid, started)
    assert process.lives
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not process.lives
    child.communicate()


def test_another_process_with_the_same_number_is_not_the_run():
    noted(started=17)
    assert active_run() == ""


def test_a_run_of_another_machine_is_not_judged_from_here():
    noted(host="elsewhere")
    assert "on elsewhere, which cannot be seen from this machine. Run `make unlock` there" in (
        active_run()
    )


@pytest.mark.parametrize("junk", ["", "{", "[]", "{}", "\0"])
def test_a_note_that_nobody_can_read_is_none(junk):
    noted()
    RUN.write_text(junk)
    assert active_run() == ""


def test_a_process_of_another_user_that_shows_nothing_counts_as_alive(monkeypatch):
    def hidden(self):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "status", hidden)
    assert Process.this().lives
