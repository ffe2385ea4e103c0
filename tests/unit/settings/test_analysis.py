"""The sections about the analysis, made in Python."""

import pytest

from circuitlapse.settings import analysis
from circuitlapse.settings.analysis import Bootstrap, Circuits, Compute
from circuitlapse.settings.base import DEFAULT_SEED

SECTIONS = ["Circuits", "Bootstrap", "Algorithm", "Stability", "Compute", "Heads", "Activations"]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_a_default_for_every_key_is_frozen_and_can_be_hashed(name):
    section = getattr(analysis, name)()
    assert hash(section) == hash(getattr(analysis, name)())
    with pytest.raises(ValueError, match="frozen"):
        section.seed = 4


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_survives_the_parameters_of_a_job(name):
    section = getattr(analysis, name)()
    assert type(section)(**section.model_dump(mode="json")) == section


def test_the_bootstrap_has_a_seed_without_a_configuration():
    assert Bootstrap(samples=100).seed == DEFAULT_SEED
    assert Bootstrap(samples=100, level=0.9, seed=7).seed == 7


def test_chosen_gpus_survive_the_parameters_of_a_job():
    section = Compute(device="cuda", gpus=(2, 0), jobs_per_gpu=2)
    assert Compute(**section.model_dump(mode="json")) == section


@pytest.mark.parametrize(("splits", "is_valid"), [(0, True), (1, False), (19, False), (20, True)])
def test_splits_are_none_or_enough_for_a_quantile_of_five_percent(splits, is_valid):
    if is_valid:
        assert Circuits(splits=splits).splits == splits
    else:
        with pytest.raises(ValueError, match=f"= {splits} must be 0 or at least 20"):
            Circuits(splits=splits)
