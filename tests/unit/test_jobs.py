import re
import subprocess
import sys
import textwrap
import warnings

from circuitlapse.jobs import job_logging


def test_records_and_warnings_go_to_the_log(tmp_path):
    with job_logging(tmp_path / "logs" / "a.log") as log:
        log.info("loaded %d prompts", 3)
        warnings.warn("careful", stacklevel=1)
    text = (tmp_path / "logs" / "a.log").read_text()
    assert re.search(r"\d\d:\d\d:\d\d INFO loaded 3 prompts", text)
    assert "careful" in text


def test_our_own_warnings_are_also_on_the_terminal(tmp_path, capsys):
    for _ in range(2):  # a handler that stays would say it twice
        with job_logging(tmp_path / "a.log") as log:
            log.info("loaded 3 prompts")
            log.warning("only 3 prompts")
        assert capsys.readouterr().err == "WARNING only 3 prompts\n"
    assert "WARNING only 3 prompts" in (tmp_path / "a.log").read_text()


def failed(log, error):
    """Return what a job that raises `error` leaves on the terminal."""
    code = f"""
        from circuitlapse.errors import TaskError
        from circuitlapse.jobs import job_logging
        with job_logging({str(log)!r}):
            try:
                raise KeyError("cause")
            except KeyError as cause:
                raise {error} from cause
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_an_expected_error_is_its_message_alone_on_the_terminal_and_in_the_log(tmp_path):
    message = "TaskError: row 3 has no answer\n"
    assert failed(tmp_path / "a.log", "TaskError('row 3 has no answer')") == message
    log = (tmp_path / "a.log").read_text()
    assert log.endswith(f" ERROR {message}")
    assert len(log.splitlines()) == 1


def test_any_other_error_is_one_line_on_the_terminal_and_a_traceback_in_the_log(tmp_path):
    terminal = failed(tmp_path / "a.log", "ValueError('a defect')")
    assert terminal == f"ValueError: a defect\n(traceback in {tmp_path / 'a.log'})\n"
    log = (tmp_path / "a.log").read_text()
    assert "Traceback" in log
    assert "KeyError" in log
