"""The sections about models and tasks, made in Python."""

import pytest

from circuitlapse.settings.suite import Task, Train, Training
from circuitlapse.tasks.registry import BUILDERS


@pytest.mark.parametrize("name", BUILDERS)
def test_a_task_takes_metric_and_options_from_its_builder(name):
    task = Task(name=name)
    assert (task.builder, task.metric) == (name, BUILDERS[name].metric)
    assert set(task.options) == set(BUILDERS[name].options)


def test_a_task_with_prompts_of_its_own_has_no_builder():
    task = Task(name="mine", file="mine.csv", metric="prob_diff")
    assert (task.builder, task.n_prompts, task.options) == (None, None, {})


def test_a_model_with_heads_that_do_not_divide_its_width_is_refused():
    with pytest.raises(ValueError, match="d_model"):
        Train(layers=2, heads=3, d_model=64)


def test_the_training_of_a_job_is_that_of_the_configuration():
    training = Training(save_steps=(0, 200))
    assert Training(**training.model_dump(mode="json")) == training
