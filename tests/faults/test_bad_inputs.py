"""Inputs of a user that are refused, with one message that says what is wrong."""

from __future__ import annotations

import pytest

from tests.bad_inputs import BAD_INPUTS, refused

KIND = "bad inputs"
pytestmark = pytest.mark.faults


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_a_bad_input_is_refused_and_nothing_is_made(case, tmp_path):
    case.make(tmp_path)
    there = sorted(tmp_path.rglob("*"))
    message = refused(case, tmp_path)
    assert all(words in message for words in case.words)
    assert "Traceback" not in message
    assert sorted(tmp_path.rglob("*")) == there
