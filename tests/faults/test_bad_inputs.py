"""Inputs of a user that are refused, with one message that says what is wrong."""

from __future__ import annotations

import pytest

from tests.bad_inputs import BAD_INPUTS, refused

KIND = "bad inputs"
pytestmark = pytest.mark.faults


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_a_bad_input_is_refused_and_nothing_is_made(case, tmp_path):
    used, untouched = tmp_path / "used", tmp_path / "untouched"
    for folder in (used, untouched):
        folder.mkdir()
    message = refused(case, used)
    assert all(words in message for words in case.words)
    assert "Traceback" not in message
    case.make(untouched)
    assert {path.name for path in used.iterdir()} == {path.name for path in untouched.iterdir()}
