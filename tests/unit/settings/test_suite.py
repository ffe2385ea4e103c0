"""The sections about models and tasks, made in Python."""

import pytest

from circuitlapse.settings.suite import Model, Phase, Task, TextShares, Train, Training
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
    phase = Phase(steps=200, text=TextShares(sentences=0.5, repeats=0.5))
    training = Training(phases=(phase,), save_steps=(0, 200))
    assert Training(**training.model_dump(mode="json")) == training


def test_tokens_are_counted_over_phases():
    first = Phase(steps=30, batch_size=4, sequence_length=10)
    second = Phase(steps=50, batch_size=2, sequence_length=8)
    training = Training(phases=(first, second), save_steps=(0,))
    found = [training.tokens_at(step) for step in (0, 1, 30, 31, 80)]
    assert found == [0, 40, 1200, 1216, 1200 + 50 * 16]


def test_a_corpus_needs_the_kinds_of_text_of_all_phases():
    other = Phase(steps=30, text=TextShares(couples=0.5, repeats=0.5))
    training = Training(phases=(other, Phase(steps=30)), save_steps=(0,))
    assert training.kinds == ["couples", "repeats", "sentences"]


@pytest.mark.parametrize(("data_seed", "variant"), [(1, "seed5"), (2, "seed5-data2")])
def test_a_model_is_told_apart_by_its_seeds(data_seed, variant):
    train = Train(layers=1, heads=1, d_model=8, seed=5, data_seed=data_seed)
    assert Model(name="a", train=train).variant == variant
