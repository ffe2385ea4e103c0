"""The whole configuration: what it answers, and what is left of it when a part is wrong."""

import pytest
import yaml

from circuitlapse.config.schema import Config
from circuitlapse.errors import UnknownNameError
from circuitlapse.settings.base import INVALID

from .conftest import BASE


def test_without_a_choice_all_steps_exchange_circuits_and_the_last_lends_heads_to_the_others(load):
    first = "{name: a, train: {layers: 2, heads: 2, d_model: 32}}"
    second = "{name: b, train: {layers: 2, heads: 2, d_model: 64}, steps: [0, 10, 20]}"
    config = load(f"models: [{first}, {second}]")
    assert (config.transfer_steps("a"), config.transfer_steps("b")) == ((0, 10), (0, 10, 20))
    assert (config.swap_pairs("a"), config.swap_pairs("b")) == (((10, 0),), ((20, 0), (20, 10)))
    assert load("steps: [10]").swap_pairs("tiny") == ()


def test_steps_that_exchange_circuits_and_pairs_that_swap_heads_can_be_chosen(load):
    pairs = "[[20, 10], [0, 20], [10, 0], [20, 0]]"
    config = load(f"steps: [0, 10, 20]\ntransfer: {{steps: [0, 20]}}\nswaps: {{pairs: {pairs}}}")
    assert config.transfer_steps("tiny") == (0, 20)
    assert config.swap_pairs("tiny") == ((10, 0), (20, 0), (20, 10), (0, 20))
    assert load("transfer: {steps: [0, 10]}").swap_pairs("tiny") == ((10, 0),)
    assert load("swaps: {pairs: []}").swap_pairs("tiny") == ()


def test_a_name_that_is_not_there_gets_the_nearest(load):
    with pytest.raises(UnknownNameError, match=r"^unknown model 'tiney'; did you mean 'tiny'\?"):
        load().model("tiney")
    with pytest.raises(UnknownNameError, match=r"^unknown task 'ioj'; did you mean 'ioi'\?"):
        load().task("ioj")


def test_the_configuration_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load().seed = 4


def test_the_valid_parts_of_a_configuration_are_kept():
    written = yaml.safe_load(BASE) | {"steps": [0, "x"], "circuits": {"threshold": 2}, "zzz": 1}
    written["models"].append({"name": "b", "train": {"layers": 0}})
    del written["tasks"]
    config = Config.of_valid_parts(written)
    assert config.steps == (0, INVALID)
    assert config.circuits is INVALID
    assert config.tasks is INVALID
    assert [getattr(model, "name", model) for model in config.models] == ["tiny", INVALID]
    assert config.training.save_steps == (0, 10, 20)


def test_seeds_and_steps_of_the_top_level_are_filled_in():
    config = Config.model_validate(yaml.safe_load(BASE))
    assert config.models[0].steps == ()
    filled = config.filled_in()
    assert filled.models[0].steps == (0, 10)
    assert filled.tasks[0].seed == filled.bootstrap.seed == 3
