import re
import subprocess
import sys
import textwrap
import time
import warnings

from circuitlapse.jobs import job_logging, progress


def test_records_and_warnings_go_to_the_log(tmp_path):
    with job_logging(tmp_path / "logs" / "a.log") as log:
        log.info("loaded %d prompts", 3)
        warnings.warn("careful", stacklevel=1)
    text = (tmp_path / "logs" / "a.log").read_text()
    assert re.search(r"\d\d:\d\d:\d\d INFO loaded 3 prompts", text)
    assert "careful" in text


def test_a_failure_is_one_line_on_the_terminal_and_a_traceback_in_the_log(tmp_path):
    code = f"""
        from circuitlapse.errors import TaskError
        from circuitlapse.jobs import job_logging
        with job_logging({str(tmp_path / "a.log")!r}):
            raise TaskError("row 3 has no answer")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("TaskError: row 3 has no answer")
    assert "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / "a.log").read_text()


def test_progress_says_how_many_are_done_and_how_long_the_rest_takes(tmp_path):
    with job_logging(tmp_path / "a.log") as log:
        for _ in progress([1, 2, 3], "tasks", log=log, every_s=0.01):
            time.sleep(0.03)
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert any(re.search(r"tasks: 2/3, \S+ elapsed, ETA \d\d:\d\d", line) for line in lines)
    assert "tasks: 3/3" in lines[-1]
