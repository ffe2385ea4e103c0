"""What is wrong with a single key. Each test asserts on the whole line."""

import pytest

from circuitlapse.config.cross_field import dotted
from circuitlapse.config.keys import json_schema
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import Method

FAST = ", ".join(method for method in Method if method != Method.EXACT)
"""The methods that a configuration may name."""


def test_a_misspelt_key_at_the_top_level_gets_the_nearest_one(errors):
    unknown, misspelt = errors("zzz: 2\nstep: [0]")
    assert unknown.startswith("user.yaml: zzz is not a known key (known: results, suite, seed, ")
    assert misspelt == "user.yaml: step is not a known key; did you mean 'steps'?"


def test_a_misspelt_key_in_a_section_gets_the_nearest_one(errors):
    assert errors("circuits: {treshold: 0.5}") == [
        "user.yaml: circuits.treshold is not a known key; did you mean 'threshold'?"
    ]


def test_a_misspelt_key_in_an_entry_of_a_list_gets_the_nearest_one(errors):
    model = "{name: a, train: {layers: 2, heads: 2, d_model: 32, sed: 1}}"
    assert errors(f"models: [{model}]") == [
        "user.yaml: models[0].train.sed is not a known key; did you mean 'seed'?"
    ]


def test_a_key_that_is_not_text_is_not_a_known_key(errors):
    assert errors("figures: {3: 4}") == [
        "user.yaml: figures.3 is not a known key (known: min_step)."
    ]


def test_a_missing_key_is_explained_with_an_example(errors):
    assert errors("tasks: [{builder: ioi}]") == [
        "user.yaml: tasks[0].name is missing: Unique name in paths, tables and figures. "
        "For example 'name: ioi'."
    ]


def test_a_missing_section_is_explained_with_an_example(errors):
    base = "steps: [0]\ntraining: {phases: [{steps: 30}], save_steps: [0]}\ntasks: [{name: ioi}]"
    assert errors(base=base) == [
        "user.yaml: models is missing: The models: sizes or seeds of one family. For example "
        "'models: [{name: tiny, train: {layers: 2, heads: 2, d_model: 32}}]'."
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("circuits: {threshold: 1.7}", "threshold = 1.7 must be a number, above 0 and at most 1."),
        ("circuits: {threshold: 0}", "threshold = 0 must be a number, above 0 and at most 1."),
        (
            "circuits: {ig_steps: 1001}",
            "ig_steps = 1001 must be a whole number, at least 1 and at most 1000.",
        ),
        (
            "circuits: {grid_ratio: .inf}",
            "grid_ratio = Infinity must be a number, above 1 and at most 10.",
        ),
    ],
)
def test_a_number_out_of_range_gets_its_range(errors, text, line):
    assert errors(text) == [f"user.yaml: circuits.{line}"]


def test_a_width_must_be_a_multiple_of_8(errors):
    assert errors("models: [{name: a, train: {layers: 2, heads: 2, d_model: 36}}]") == [
        "user.yaml: models[0].train.d_model = 36 must be a whole number, a multiple of 8, "
        "at least 8 and at most 4096."
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 1.5", "seed = 1.5 must be a whole number, at least 0 and at most 4294967295."),
        ("seed: true", "seed = true must be a whole number, at least 0 and at most 4294967295."),
        ("seed: null", "seed = null must be a whole number, at least 0 and at most 4294967295."),
        ("activations: {keep: 1}", "activations.keep = 1 must be true or false."),
        ("models: [{name: a, label: 2, train: {layers: 2, heads: 2, d_model: 32}}]",
         "models[0].label = 2 must be text, not empty."),
        ("steps: 5", "steps = 5 must be a list with at least one entry, each a whole number, "
         "at least 0."),
        ("steps: [0, x]", "steps[1] = 'x' must be a whole number, at least 0."),
        ("circuits: [eap]", "circuits (a list) must be a mapping with the keys method, ig_steps, "
         "ig_rule, level, selection, threshold, faithfulness, max_fraction, min_cap, grid_ratio, "
         "refine_points, eliminate, random_circuits, noise_floor, splits, "
             "certificates, knockouts."),
        ("tasks: {ioi: {}}", "tasks (a mapping) must be a list with at least one entry, each a "
         "mapping with the keys name, file, builder, metric, n_prompts, seed, prepend_bos, "
         "corruption."),
        ("tasks: [ioi]", "tasks[0] = 'ioi' must be a mapping with the keys name, file, builder, "
         "metric, n_prompts, seed, prepend_bos, corruption."),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_gets_the_right_type(errors, text, line):
    assert errors(text) == [f"user.yaml: {line}"]


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("activations: {keep: maybe}", False),
        ("activations: {keep: 'true'}", True),
        ("circuits: {ig_steps: 'ten'}", False),
        ("circuits: {ig_steps: '1.5'}", False),
        ("circuits: {threshold: '1'}", True),
        ("circuits: {threshold: 'inf'}", False),
        ("circuits: {threshold: '['}", False),
    ],
)
def test_taking_quotes_away_is_the_remedy_only_where_it_helps(errors, text, helps):
    (line,) = errors(text)
    assert ("quotes" in line) == helps


def test_a_number_that_yaml_reads_as_text_gets_the_remedy(errors):
    assert errors("training: {phases: [{steps: 30, learning_rate: 1e-3}]}") == [
        "user.yaml: training.phases[0].learning_rate = '1e-3' must be a number, above 0 and at "
        "most 1; YAML reads this as text: a number needs a dot, such as 1.0e-3 for 1e-3."
    ]


def test_an_empty_list_is_refused(errors):
    assert errors("steps: []\nmodels: []") == [
        "user.yaml: steps = [] must be a list with at least one entry, each a whole number, "
        "at least 0.",
        "user.yaml: models = [] must be a list with at least one entry, each a mapping with the "
        "keys name, label, variant_of, train, hub, schedule, circuits, steps.",
    ]


def test_a_list_whose_only_entry_is_wrong_is_not_called_empty(errors):
    assert errors("tasks: [{name: ioi, sed: 1}]") == [
        "user.yaml: tasks[0].sed is not a known key; did you mean 'seed'?"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("circuits: {method: eap_ig_input}", "circuits.method = 'eap_ig_input' must be one of "
         f"{FAST}; did you mean 'eap_ig_inputs'?"),
        ("circuits: {method: exact}", f"circuits.method = 'exact' must be one of {FAST}."),
        ("circuits: {selection: gredy}", "circuits.selection = 'gredy' must be one of greedy, "
         "top_n; did you mean 'greedy'?"),
        ("tasks: [{name: a, builder: iou}]", "tasks[0].builder = 'iou' must be one of "
         f"{', '.join(BUILDERS)} or null; did you mean 'ioi'?"),
    ],
)  # fmt: skip
def test_an_unknown_choice_gets_the_known_ones_and_the_nearest(errors, text, line):
    assert errors(text) == [f"user.yaml: {line}"]


@pytest.mark.parametrize("name", ["Pocket", "a/b", "tiny_step3", "-a", ""])
def test_the_name_of_a_model_must_fit_into_a_path(errors, name):
    model = f"{{name: '{name}', train: {{layers: 2, heads: 2, d_model: 32}}}}"
    assert errors(f"models: [{model}]") == [
        f"user.yaml: models[0].name = '{name}' must be at most 100 lower-case letters, digits, "
        "'.' and '-', starting with a letter or digit."
    ]


@pytest.mark.parametrize(
    ("device", "nearest"), [("tpu", "cpu"), ("cuda:x", "cuda"), ("cpu:0", "cpu")]
)
def test_a_device_must_be_a_cpu_or_a_gpu(errors, device, nearest):
    assert errors(f"compute: {{device: '{device}'}}") == [
        f"user.yaml: compute.device = '{device}' must be one of cpu, cuda; "
        f"did you mean '{nearest}'?"
    ]


def test_the_number_of_a_gpu_belongs_into_another_key(errors):
    assert errors("compute: {device: 'cuda:12'}") == [
        "user.yaml: compute.device = 'cuda:12' must be cpu or cuda; to choose a GPU, set "
        "compute.gpus: [12]."
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("0", "= 0"), ("[]", "= []"), ("some", "= 'some'"), ("null", "= null"), ("[0, 0]", "(a list)"),
     ("[-1]", "(a list)"), ("['0']", "(a list)"), ("[true]", "(a list)")],
)  # fmt: skip
def test_gpus_are_all_or_different_numbers(errors, value, shown):
    assert errors(f"compute: {{gpus: {value}}}") == [
        f"user.yaml: compute.gpus {shown} must be all, or a list of different numbers of GPUs, "
        "each at least 0."
    ]


@pytest.mark.parametrize("value", ["0", "17", "1.5", "true", "many", "null"])
def test_jobs_per_gpu_is_auto_or_a_number(errors, value):
    (line,) = errors(f"compute: {{jobs_per_gpu: {value}}}")
    assert line.startswith("user.yaml: compute.jobs_per_gpu = ")
    assert line.endswith(" must be auto, or a whole number, at least 1 and at most 16.")


def test_gpus_can_be_chosen_in_a_file_and_on_the_command_line(load):
    found = load("compute: {device: cuda, gpus: [1, 0], jobs_per_gpu: 2}").compute
    assert (found.device, found.gpus, found.jobs_per_gpu) == ("cuda", (1, 0), 2)
    found = load("", "compute={device: cuda, gpus: [3], jobs_per_gpu: auto}").compute
    assert (found.device, found.gpus, found.jobs_per_gpu) == ("cuda", (3,), "auto")


def test_a_key_path_is_written_as_users_write_it():
    assert dotted(("models", 1, "steps", 2)) == "models[1].steps[2]"


LONG = 300 * "a"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"models: [{{name: {LONG}, train: {{layers: 2, heads: 2, d_model: 32}}}}]", "models[0]."),
        (f"tasks: [{{name: {LONG}, builder: ioi}}]", "tasks[0]."),
        (f"suite: {LONG}", "suite"),
    ],
)
def test_a_name_that_is_too_long_for_a_path_is_refused(errors, text, key):
    (line,) = errors(text)
    assert line.startswith(f"user.yaml: {key}")
    assert "must be at most 100 lower-case letters, digits" in line
    assert json_schema()["properties"]["suite"]["maxLength"] == 100


def test_a_long_text_is_shortened_in_a_message(errors):
    (line,) = errors(f"suite: {LONG}")
    assert line.startswith(f"user.yaml: suite = '{77 * 'a'}...' must be")


@pytest.mark.parametrize(
    "text",
    [
        "models: [{name: a, hub: {repo: 'https://lab:sesame@hub/lab/model'}}]",
        "models: [{name: a, hub: {repo: 'https://hub/a?token=sesame'}}]",
        "heads: {dataset: 'https://lab:sesame@hub/lab/text'}",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(errors, text):
    lines = errors(text)
    assert any("expected" in line or "must be" in line for line in lines)
    assert "sesame" not in "".join(lines)


def test_variables_of_the_environment_are_checked_with_the_configuration(errors, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://lab:sesame@hub:port")
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "soon")
    first, second = errors("heads: {dataset: lab/text}")
    assert first.startswith("environment: HF_HUB_ETAG_TIMEOUT: expected a whole number of seconds")
    assert second.startswith("environment: HF_ENDPOINT: expected an address such as https://hug")
    assert "sesame" not in second
    (line,) = errors("seed: 4")
    assert line == first
