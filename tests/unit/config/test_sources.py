"""Who is named: the file that set a key, or the command line; and files that cannot be read."""

from pathlib import Path

import pytest

from circuitlapse.config import load_config
from circuitlapse.errors import ConfigError


def test_a_value_is_blamed_on_the_last_file_that_set_it(errors):
    base = "steps: [0]\nmodels: []\ntasks: [{name: ioi}]\nseed: -1\n"
    base += "training: {phases: [{steps: 30}], save_steps: [0]}"
    assert [line.split(" ")[:2] for line in errors("models: []", base=base)] == [
        ["base.yaml:", "seed"],
        ["user.yaml:", "models"],
    ]


def test_a_missing_key_is_blamed_on_the_last_file_with_its_section(errors):
    base = "steps: [0]\nmodels: [{name: a}]\ntraining: {threads: 1}\ntasks: [{name: ioi}]"
    assert [line.split(" ")[:2] for line in errors("training: {threads: 2}", base=base)] == [
        ["base.yaml:", "models[0].train"],
        ["user.yaml:", "training.phases"],
        ["user.yaml:", "training.save_steps"],
    ]


def test_a_missing_section_is_blamed_on_the_last_file_not_on_the_command_line(errors):
    base = "steps: [0]\ntraining: {phases: [{steps: 30}], save_steps: [0]}\ntasks: [{name: ioi}]"
    (line,) = errors("", "seed=7", base=base)
    assert line.startswith("user.yaml: models is missing")


def test_a_value_from_the_command_line_is_blamed_on_it(errors):
    assert errors("", "seed=-7", "circuits={threshold: 1.5, treshold: 2}") == [
        "--config: seed = -7 must be a whole number, at least 0 and at most 4294967295.",
        "--config: circuits.threshold = 1.5 must be a number, above 0 and at most 1.",
        "--config: circuits.treshold is not a known key; did you mean 'threshold'?",
    ]


def test_a_value_that_is_not_equal_to_itself_is_blamed_on_its_file(errors):
    assert errors("circuits: {threshold: .nan}\nsteps: [0, .nan]") == [
        "user.yaml: circuits.threshold = NaN must be a number, above 0 and at most 1.",
        "user.yaml: steps[1] = NaN must be a whole number, at least 0.",
    ]
    assert errors("", "circuits={threshold: .nan}") == [
        "--config: circuits.threshold = NaN must be a number, above 0 and at most 1."
    ]


def test_a_list_from_the_command_line_replaces_the_list_of_a_file(errors):
    assert errors("", "steps=[0, 11]") == [
        "--config: steps[1] = 11 is not a saved step; nearest are 10 and 20."
    ]


def test_nested_values_of_the_command_line_have_the_types_of_yaml(load):
    config = load(
        "",
        "circuits={threshold: 0.9, ig_steps: 5, method: eap}",
        "activations={keep: true}",
        "steps=[0, 20]",
        "tasks=[{name: gendered_pronoun, n_prompts: null}]",
    )
    assert config.circuits.threshold == 0.9
    assert config.circuits.ig_steps == 5
    assert config.activations.keep is True
    assert config.steps == (0, 20)
    assert config.tasks[0].n_prompts is None


def test_text_that_a_file_puts_in_quotes_stays_text(errors):
    assert errors("circuits: {ig_steps: '5'}") == [
        "user.yaml: circuits.ig_steps = '5' must be a whole number, at least 1 and at most 1000; "
        "YAML reads this as text: remove the quotes."
    ]


def test_nothing_else_is_checked_while_a_file_is_no_mapping(errors):
    """Whatever such a file holds would be blamed on the command line."""
    assert errors("- seed", "seed=-7") == [
        "user.yaml: must be a mapping of keys, such as 'results: results'."
    ]


def test_a_key_that_appears_twice_in_a_file_is_refused(errors):
    assert errors("circuits: {ig_steps: 5}\n\ncircuits: {threshold: 0.7}") == [
        "user.yaml: line 3, column 1, is not valid YAML: the key 'circuits' appears twice."
    ]


def test_a_file_that_is_not_yaml_is_named_with_the_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("seed: 1\nsteps: [0\ntasks: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^bad\.yaml: line 3, column \d+, is not valid YAML"):
        load_config({}, [Path("bad.yaml")])


def test_a_file_that_is_not_text_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ConfigError, match=r"^bad\.yaml: is not UTF-8 text\."):
        load_config({}, [Path("bad.yaml")])


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^no\.yaml: cannot be read: No such file"):
        load_config({}, [Path("no.yaml")])


def test_a_file_that_is_given_twice_is_read_once_and_counts_where_it_is_last(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("seed: -2")
    second.write_text("seed: -1")
    with pytest.raises(ConfigError) as caught:
        load_config({"seed": -1}, [second, first, second])
    lines = str(caught.value).splitlines()
    assert sum(line.startswith(f"{second}: seed = -1") for line in lines) == 1
    assert sum("seed = -" in line for line in lines) == 1
