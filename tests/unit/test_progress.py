import logging
import re
import time

from transformers.utils import logging as bars

from circuitlapse.jobs import byte_progress, no_progress_bars, progress


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


def test_the_bars_of_transformers_come_back():
    assert bars.is_progress_bar_enabled()
    with no_progress_bars():
        assert not bars.is_progress_bar_enabled()
    assert bars.is_progress_bar_enabled()
