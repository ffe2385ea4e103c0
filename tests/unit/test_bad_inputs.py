"""Every bad input is refused with one clear message, soon."""

import time

import pytest

from tests.bad_inputs import BAD_INPUTS, refused

LIMIT_S = 10.0
"""CPU time that only input which explodes takes: the slowest case takes a second or two."""


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_a_bad_input_is_refused_with_a_clear_message(case, tmp_path):
    started = time.process_time()
    message = refused(case, tmp_path)
    assert time.process_time() - started < LIMIT_S
    for words in case.words:
        assert words in message
    assert all(line.isprintable() for line in message.splitlines())
    assert max(map(len, message.splitlines())) < 600
