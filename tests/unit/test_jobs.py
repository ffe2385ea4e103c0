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
