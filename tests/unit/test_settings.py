"""The sections of the configuration, made in Python; and the lists of steps with a name."""

from itertools import pairwise

import pytest

from circuitlapse import settings
from circuitlapse.settings import PUBLISHED, SCHEDULES

SECTIONS = ["Circuits", "Bootstrap", "Algorithm", "Stability", "Compute", "Heads", "Activations"]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_a_default_for_every_key_is_frozen_and_can_be_hashed(name):
    section = getattr(settings, name)()
    assert hash(section) == hash(getattr(settings, name)())
    with pytest.raises(ValueError, match="frozen"):
        section.seed = 4


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_survives_the_parameters_of_a_job(name):
    section = getattr(settings, name)()
    assert type(section)(**section.model_dump(mode="json")) == section


def test_the_bootstrap_has_a_seed_without_a_configuration():
    assert settings.Bootstrap(samples=100).seed == settings.DEFAULT_SEED
    assert settings.Bootstrap(samples=100, level=0.9, seed=7).seed == 7


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
