import logging
import re
import subprocess
import sys
import textwrap
import time
import warnings

import pandas as pd
import pytest

from circuitlapse.jobs import byte_progress, job_logging, progress


def test_records_and_warnings_go_to_the_log(tmp_path):
    with job_logging(tmp_path / "logs" / "a.log") as log:
        log.info("loaded %d prompts", 3)
        warnings.warn("careful", stacklevel=1)
    text = (tmp_path / "logs" / "a.log").read_text()
    assert re.search(r"\d\d:\d\d:\d\d INFO loaded 3 prompts", text)
    assert "careful" in text


def test_the_timings_of_a_job_are_what_its_process_and_its_children_took(tmp_path):
    """Each burns 0.3 s of CPU; one sleeps as long; 200 MB are held for a moment."""
    code = f"""
        import subprocess, sys, time
        from circuitlapse.jobs import job_logging
        burn = "import time\\nwhile time.process_time() < 0.3: pass"
        with job_logging({str(tmp_path / "logs/rule/a.log")!r}):
            start = time.process_time()
            while time.process_time() < start + 0.3: pass
            len(b'x' * 200 * 2**20)
            own = time.process_time()
            subprocess.run([sys.executable, "-I", "-S", "-c", burn], check=True)
            time.sleep(0.3)
        print(own + 0.3)
    """
    begun = time.monotonic()
    # from a shell, as Snakemake does: a process that is started here inherits our peak memory
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole_s = time.monotonic() - begun
    table = pd.read_csv(tmp_path / "benchmarks/rule/a.tsv", sep="\t")
    (row,) = table.itertuples()
    assert row.cpu_time == pytest.approx(float(done.stdout), abs=0.1)
    assert float(done.stdout) + 0.25 < row.s < whole_s + 0.01
    assert 200 < row.max_rss < 400


def test_a_failed_job_has_no_timings(tmp_path):
    failed(tmp_path / "logs/a.log", "ValueError('a defect')")
    assert not (tmp_path / "benchmarks").exists()


def test_timings_that_cannot_be_written_are_a_warning(tmp_path):
    """The outputs of the job are complete."""
    (tmp_path / "benchmarks").touch()
    with job_logging(tmp_path / "logs/a.log"):
        pass
    text = (tmp_path / "logs/a.log").read_text()
    assert f"WARNING {tmp_path / 'benchmarks/a.tsv'}: cannot be written: " in text


def test_our_own_warnings_are_also_on_the_terminal(tmp_path, capsys):
    for _ in range(2):  # a handler that stays would say it twice
        with job_logging(tmp_path / "logs/a.log") as log:
            log.info("loaded 3 prompts")
            log.warning("only 3 prompts")
        assert capsys.readouterr().err == "WARNING only 3 prompts\n"
    assert "WARNING only 3 prompts" in (tmp_path / "logs/a.log").read_text()


def failed(log, error):
    """Return what a job that raises `error` in its script leaves on the terminal."""
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
    assert failed(tmp_path / "logs/a.log", "TaskError('row 3 has no answer')") == message
    log = (tmp_path / "logs/a.log").read_text()
    assert log.endswith(f" ERROR {message}")
    assert len(log.splitlines()) == 1


def test_any_other_error_is_one_line_on_the_terminal_and_a_traceback_in_the_log(tmp_path):
    terminal = failed(tmp_path / "logs/a.log", "ValueError('a defect')")
    assert terminal == f"ValueError: a defect\n(traceback in {tmp_path / 'logs/a.log'})\n"
    log = (tmp_path / "logs/a.log").read_text()
    assert "Traceback" in log
    assert "KeyError" in log


def test_a_job_stopped_by_hand_leaves_one_line_on_the_terminal_and_in_the_log(tmp_path):
    terminal = failed(tmp_path / "logs/a.log", "KeyboardInterrupt")
    assert terminal == f"stopped by Ctrl-C: {tmp_path / 'logs/a.log'}\n"
    assert (tmp_path / "logs/a.log").read_text().endswith(" ERROR stopped by Ctrl-C\n")


def test_a_job_stopped_while_it_imports_prints_no_traceback():
    code = "snakemake = 1\nimport circuitlapse.jobs\nraise {}"
    for error, said in (("KeyboardInterrupt", "stopped by Ctrl-C\n"), ("ValueError", None)):
        command = [sys.executable, "-c", code.format(error)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert done.stderr == said if said else "Traceback" in done.stderr


def test_an_error_while_a_job_imports_shows_no_secret():
    code = "snakemake = 1\nimport circuitlapse.jobs\nraise ValueError('hf_' + 30 * 'a')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ValueError: ***" in done.stderr
    assert "hf_aaaa" not in done.stderr


def test_progress_says_how_many_are_done_and_how_long_the_rest_takes(caplog):
    caplog.set_level(logging.INFO)
    for item in (items := progress([1, 2, 3], "tasks", log=logging.getLogger("t"), every_s=0.01)):
        items.set_postfix_str(f"loss {item}", refresh=False)
        time.sleep(0.03)
    lines = [record.message for record in caplog.records]
    assert any(re.fullmatch(r"tasks: 2/3, \S+ elapsed, ETA \d\d:\d\d, loss 2", x) for x in lines)
    assert lines[-1].startswith("tasks: 3/3")
    assert len(lines) == len(set(lines))


def test_progress_of_a_generator_is_told_how_many_there_are(caplog):
    caplog.set_level(logging.INFO)
    list(progress((item for item in "ab"), "steps", log=logging.getLogger("t"), total=2))
    assert caplog.records[-1].message.startswith("steps: 2/2")


def test_progress_counts_what_an_earlier_attempt_has_done(caplog):
    caplog.set_level(logging.INFO)
    list(progress(iter("cd"), "steps", log=logging.getLogger("t"), total=4, done=2))
    assert caplog.records[-1].message.startswith("steps: 4/4")


def test_progress_of_bytes_says_how_many_how_fast_and_how_long(caplog):
    caplog.set_level(logging.INFO)
    with byte_progress(3_000_000, "a.bin", log=logging.getLogger("t"), every_s=0.02) as bar:
        for _ in range(3):
            time.sleep(0.05)
            bar.update(1_000_000)
    lines = [record.message for record in caplog.records]
    wanted = r"a.bin: 2.00MB/3.00MB, \S+ elapsed, \S+MB/s, ETA \d\d:\d\d"
    assert any(re.fullmatch(wanted, line) for line in lines), lines


def test_bytes_that_come_at_once_are_not_worth_a_line(caplog):
    caplog.set_level(logging.INFO)
    with byte_progress(3, "a.bin", log=logging.getLogger("t")) as bar:
        bar.update(3)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("before", "changes"), [("snakemake = 1", True), ("", False)], ids=["job", "session"]
)
def test_only_a_job_collects_garbage_less_often(before, changes):
    """It makes imports faster; whoever imports the library in a notebook keeps their setting."""
    code = f"""
        import gc
        usual = gc.get_threshold()
        {before}
        import circuitlapse.jobs
        print(gc.get_threshold() != usual)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{changes}\n"


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "logs").write_text("a file in the place of the folder")
    log = tmp_path / "logs/rule.log"
    with pytest.raises(SystemExit, match=rf"^ArtifactError: {log}: cannot be written: \w[\w ]+$"):
        job_logging(log).__enter__()
