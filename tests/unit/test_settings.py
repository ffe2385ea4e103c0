"""The sections of the configuration, made in Python."""

import pytest

from circuitlapse import settings

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
