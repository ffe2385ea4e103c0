"""What the sections share: lists of training steps with a name, and paths."""

from itertools import pairwise

import pytest

from circuitlapse.settings.base import PUBLISHED, SCHEDULES


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("all", 154, 0, 143_000),
        ("linear", 143, 1000, 143_000),
        ("exponential", 18, 1, 131_000),
        ("exp_plus_detail", 45, 0, 143_000),  # the 43 of the paper, 0 and 143000
        ("sparse", 28, 256, 143_000),
        ("quick", 12, 0, 143_000),
    ],
)
def test_a_schedule_has_the_steps_that_it_is_known_for(name, count, first, last):
    steps = SCHEDULES[name]
    assert (len(steps), steps[0], steps[-1]) == (count, first, last)
    assert all(before < after for before, after in pairwise(steps))
    assert set(steps) <= set(PUBLISHED)
