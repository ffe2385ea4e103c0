"""Loading: every problem at once, and every default filled in."""

from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from circuitlapse.config import load_config
from circuitlapse.types import Metric


def load_files(*files: Path):
    merged: dict = {}
    for file in files:
        update_config(merged, yaml.safe_load(file.read_text(encoding="utf-8")))
    return load_config(merged, files)


def test_several_problems_come_in_one_error_in_the_order_of_the_files(errors):
    base = """
circuits: {threshold: 2}
tasks: [{name: ioy}, {name: sva, n_prompts: 3}]
training: {phases: [{steps: 30}], save_steps: [0, 10]}
steps: [0, 5]
models: [{name: a, train: {layers: 2, heads: 3, d_model: 32}}]
"""
    user = "figures: {min_step: 0}\nsead: 3\ncircuits: {ig_rule: right}"
    assert [line.split(" ")[:2] for line in errors(user, "compute={device: tpu}", base=base)] == [
        ["base.yaml:", "circuits.threshold"],
        ["base.yaml:", "tasks[0].name"],
        ["base.yaml:", "tasks[1].n_prompts"],
        ["base.yaml:", "steps[1]"],
        ["base.yaml:", "models[0].train.heads"],
        ["user.yaml:", "figures.min_step"],
        ["user.yaml:", "sead"],
        ["user.yaml:", "circuits.ig_rule"],
        ["--config:", "compute.device"],
    ]


def test_a_model_without_steps_and_label_takes_those_of_the_run_and_its_name(load):
    shape = "layers: 2, heads: 2, d_model: 32"
    second = f"{{name: b, train: {{{shape}, seed: 5}}, steps: [20], label: B}}"
    config = load(f"models: [{{name: a, train: {{{shape}}}}}, {second}]")
    assert [model.steps for model in config.models] == [(0, 10), (20,)]
    assert [model.label for model in config.models] == ["a", "B"]
    assert config.model("b").variant == "seed5"


def test_a_task_takes_its_builder_from_its_name_and_its_metric_from_its_builder(load):
    config = load("tasks: [{name: sva}, {name: pronouns, builder: gendered_pronoun, seed: 9}]")
    assert [task.builder for task in config.tasks] == ["sva", "gendered_pronoun"]
    assert [task.metric for task in config.tasks] == [Metric.PROB_DIFF, Metric.LOGIT_DIFF]
    assert [task.seed for task in config.tasks] == [3, 9]
    assert [task.n_prompts for task in config.tasks] == [100, 100]


def test_a_task_with_a_file_takes_all_its_rows_and_has_no_builder(load, tmp_path):
    row = '{"clean": "a", "corrupted": "b", "correct": " c", "wrong": " d"}\n'
    (tmp_path / "mine.jsonl").write_text(10 * row)
    task = load("tasks: [{name: ioi, file: mine.jsonl, metric: prob_diff}]").task("ioi")
    assert (task.builder, task.file, task.metric) == (None, "mine.jsonl", Metric.PROB_DIFF)
    assert task.n_prompts is None


def test_only_ioi_has_options(load):
    config = load(
        "tasks: [{name: ioi}, {name: b, builder: ioi, corruption: s2_to_random}, {name: sva}]"
    )
    assert [task.options for task in config.tasks] == [
        {"corruption": "s2_to_io"},
        {"corruption": "s2_to_random"},
        {},
    ]


def test_a_key_of_a_task_that_is_null_counts_as_not_set(load):
    task = load("tasks: [{name: ioi, builder: null, file: null, corruption: null}]").tasks[0]
    assert (task.builder, task.corruption) == ("ioi", "s2_to_io")


def test_the_seed_has_a_default(load):
    base = "steps: [0]\nmodels: [{name: a, train: {layers: 1, heads: 1, d_model: 8}}]\n"
    base += "training: {phases: [{steps: 30}], save_steps: [0]}\ntasks: [{name: ioi}]"
    config = load(base=base)
    assert config.seed == config.tasks[0].seed == 1234


def test_the_bootstrap_takes_the_seed_of_the_top_level_unless_it_has_its_own(load):
    assert load().bootstrap.seed == 3
    assert load("bootstrap: {samples: 200, seed: 8}").bootstrap.seed == 8


def test_the_pocket_suite_loads(root):
    config = load_files(root / "config/config.yaml")
    originals = [model.name for model in config.models if not model.variant_of]
    assert originals == ["pocket-0.2m", "pocket-0.4m", "pocket-0.6m"]
    builders = [task.builder for task in config.tasks]
    assert builders == ["ioi", "gendered_pronoun", "greater_than", "sva"]
    assert len(config.steps) >= 12
    assert config.training.save_steps[-1] == sum(phase.steps for phase in config.training.phases)


def test_the_smoke_configuration_loads_on_top_of_the_pocket_suite(root):
    config = load_files(root / "config/config.yaml", root / "config/smoke.yaml")
    assert [model.name for model in config.models] == ["pocket-tiny"]
    assert [task.name for task in config.tasks] == ["ioi", "sva"]
    assert len(config.models[0].steps) == 3
    assert config.results == "results-smoke"


def test_the_alternative_to_the_paper_s_configuration_differs_in_one_model(root):
    """And in the folder of its results, because both may be run."""
    paper, other = (
        load_files(root / "config/config.yaml", root / f"config/{name}.yaml").model_dump()
        for name in ("pythia", "pythia-2.8b-deduped")
    )
    assert other["models"][4]["hub"]["repo"] == "EleutherAI/pythia-2.8b-deduped"
    other["models"][4]["hub"]["repo"] = "EleutherAI/pythia-2.8b"
    assert other.pop("results") == "results-pythia-2.8b-deduped"
    assert other == {key: value for key, value in paper.items() if key != "results"}


@pytest.mark.parametrize("name", ["pythia", "pythia-2.8b-deduped", "pythia-quick", "pythia-seeds"])
def test_circuits_of_pythia_are_compared_from_step_1000_on_which_all_models_have(root, name):
    config = load_files(root / "config/config.yaml", root / f"config/{name}.yaml")
    assert config.stability.min_step == 1000
    assert all(1000 in model.steps for model in config.models)
