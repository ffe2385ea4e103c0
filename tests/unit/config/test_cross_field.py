"""Rules between keys, of one section or of several. Each test asserts on the whole line."""

from pathlib import Path

import pytest

from circuitlapse.settings.analysis import Circuits
from circuitlapse.tasks.registry import BUILDERS
from tests.clone import Planted


def models(*entries: str) -> str:
    trained = [
        f"{{train: {{layers: 2, heads: 2, d_model: 32, seed: {seed}}}, {entry}}}"
        for seed, entry in enumerate(entries)
    ]
    return f"models: [{', '.join(trained)}]"


def test_two_models_cannot_have_one_name(errors):
    assert errors(models("name: a", "name: b", "name: a")) == [
        "user.yaml: models[2].name = 'a' is already the name of models[0]; names must be unique."
    ]


@pytest.mark.parametrize("second", ["name: b, label: a", "name: b, label: A"])
def test_two_models_cannot_look_the_same_in_figures(errors, second):
    label = second[-1]
    first = "name: a" if label == "a" else "name: a, label: A"
    assert errors(models(first, second)) == [
        f"user.yaml: models[1].label = '{label}' is already the label of models[0]; "
        "labels must be unique."
    ]


@pytest.mark.parametrize("original", ["c", "b", "x"])
def test_a_variant_repeats_a_model_that_is_no_variant(errors, original):
    entries = models("name: a", "name: b, variant_of: a", f"name: c, variant_of: {original}")
    assert errors(entries) == [
        f"user.yaml: models[2].variant_of = '{original}' must be the name of a model that is not "
        "a variant: a."
    ]


def test_a_variant_needs_another_model(errors):
    assert errors(models("name: a, variant_of: zz")) == [
        "user.yaml: models[0].variant_of = 'zz' must be the name of a model that is not a "
        "variant, and there is no other model."
    ]


@pytest.mark.parametrize("kind", ["", "variant_of: a, "])
def test_no_model_is_trained_twice(errors, load, kind):
    shape = "layers: 2, heads: 2, d_model: 32"
    first = f"{{name: a, train: {{{shape}}}}}"
    twice = f"{{name: b, {kind}train: {{{shape}, seed: 1, data_seed: 1}}}}"
    assert errors(f"models: [{first}, {twice}]") == [
        "user.yaml: models[1].train is the same model as models[0]; change its seed, data_seed "
        "or shape, or remove it."
    ]
    for other in ("seed: 2", "data_seed: 2"):
        load(f"models: [{first}, {{name: b, {kind}train: {{{shape}, {other}}}}}]")


def test_a_variant_has_the_shape_of_its_original(errors):
    first = "{name: a, train: {layers: 2, heads: 2, d_model: 32}}"
    second = "{name: b, variant_of: a, train: {layers: 3, heads: 2, d_model: 32, seed: 2}}"
    assert errors(f"models: [{first}, {second}]") == [
        "user.yaml: models[1].train must have the shape of a, the model that it is a variant "
        "of (layers: 2, heads: 2, d_model: 32); only seeds may differ."
    ]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("", "nearest are 0 and 10."),
        ("steps: [0, 20], ", "nearest is 0."),
        ("steps: [20], ", "they share none."),
        ("steps: [20], circuits: false, ", "nearest are 0 and 10."),
    ],
)
def test_all_models_are_analysed_at_the_reference_step(errors, load, models, expected):
    entry = f"{{name: b, {models}train: {{layers: 2, heads: 2, d_model: 64}}}}"
    both = f"models: [{{name: a, train: {{layers: 2, heads: 2, d_model: 32}}}}, {entry}]\n"
    assert errors(f"{both}stability: {{reference_step: 5}}") == [
        "user.yaml: stability.reference_step = 5 is not a step at which all models have circuits; "
        f"{expected}"
    ]
    assert load("stability: {reference_step: 10}").stability.reference_step == 10


def test_two_tasks_cannot_have_one_name(errors):
    assert errors("tasks: [{name: sva}, {name: sva, seed: 2}]") == [
        "user.yaml: tasks[1].name = 'sva' is already the name of tasks[0]; names must be unique."
    ]


@pytest.mark.parametrize(
    ("step", "nearest"), [(11, "are 10 and 20"), (19, "are 10 and 20"), (21, "is 20")]
)
def test_a_step_that_is_not_saved_gets_its_neighbours(errors, step, nearest):
    assert errors(f"steps: [0, 10, {step}]") == [
        f"user.yaml: steps[2] = {step} is not a saved step; nearest {nearest}."
    ]


def test_a_step_before_the_first_saved_one_gets_that_one(errors):
    assert errors("training: {save_steps: [10, 20]}\nsteps: [5, 10]") == [
        "user.yaml: steps[0] = 5 is not a saved step; nearest is 10."
    ]


def test_the_steps_of_one_model_must_be_saved_too(errors):
    assert errors(models("name: a", "name: b, steps: [0, 9]")) == [
        "user.yaml: models[1].steps[1] = 9 is not a saved step; nearest are 0 and 10."
    ]


@pytest.mark.parametrize(("first", "second"), [(10, 10), (20, 10)])
def test_steps_must_ascend(errors, first, second):
    what = f"= {second} must be larger than {first} before it; steps must ascend, without repeats."
    assert errors(f"steps: [0, {first}, {second}]") == [f"user.yaml: steps[2] {what}"]


def test_the_learning_rate_reaches_its_peak_in_every_phase(errors, load):
    def phases(warmup_steps: int) -> str:
        return f"training: {{phases: [{{steps: 30}}, {{steps: 9, warmup_steps: {warmup_steps}}}]}}"

    assert errors(phases(9)) == [
        "user.yaml: training.phases[1].warmup_steps = 9 must be smaller than steps = 9: the "
        "learning rate would not reach its peak."
    ]
    assert load(phases(8)).training.phases[1].warmup_steps == 8


def test_the_default_of_the_warm_up_counts_too(errors):
    assert errors("training: {phases: [{steps: 20}]}") == [
        "user.yaml: training.phases[0].warmup_steps = 20 must be smaller than steps = 20: the "
        "learning rate would not reach its peak."
    ]


def test_a_step_beyond_the_last_phase_is_not_saved(errors):
    phases = "phases: [{steps: 21}, {steps: 22}]"
    assert errors(f"training: {{{phases}, save_steps: [0, 10, 43, 44]}}") == [
        "user.yaml: training.save_steps[3] = 44 is beyond 43, the number of steps of all phases."
    ]


@pytest.mark.parametrize(
    ("text", "total"), [("sentences: 0.8, repeats: 0.3", 1.1), ("couples: 0.5", 0.5), ("", 0)]
)
def test_the_shares_of_kinds_of_text_add_up_to_one(errors, text, total):
    assert errors(f"training: {{phases: [{{steps: 30, text: {{{text}}}}}]}}") == [
        f"user.yaml: training.phases[0].text has shares that add up to {total}; they must add up "
        "to 1."
    ]


def test_an_unknown_kind_of_text_gets_the_nearest(errors):
    assert errors("training: {phases: [{steps: 30, text: {repeat: 1.0}}]}") == [
        "user.yaml: training.phases[0].text.repeat is not a known key; did you mean 'repeats'?"
    ]


def test_a_wrong_phase_does_not_hide_other_problems(errors):
    assert errors("training: {phases: [{steps: 0}]}\nsteps: [0, 11]") == [
        "user.yaml: training.phases[0].steps = 0 must be a whole number, at least 1 and at most "
        "1000000.",
        "user.yaml: steps[1] = 11 is not a saved step; nearest are 10 and 20.",
    ]


def test_saved_steps_must_ascend(errors):
    assert errors("training: {save_steps: [10, 0, 20]}") == [
        "user.yaml: training.save_steps[1] = 0 must be larger than 10 before it; "
        "steps must ascend, without repeats."
    ]


def test_some_model_must_have_circuits(errors, load):
    first = "{name: a, circuits: false, train: {layers: 1, heads: 1, d_model: 8}}"
    second = "{name: b, train: {layers: 2, heads: 1, d_model: 8}}"
    assert errors(f"models: [{first}]") == [
        "user.yaml: models[0].circuits = false for every model; at least one must have "
        "circuits: true."
    ]
    load(f"models: [{first}, {second}]")


@pytest.mark.parametrize(
    ("heads", "d_model", "fitting"),
    [
        (5, 64, "1, 2, 4, 8"),
        (8, 48, "1, 2, 3, 6"),
        (2, 8, "1"),
        (16, 64, "1, 2, 4, 8"),
    ],
)
def test_heads_must_fit_the_width_and_the_rotary_positions(errors, heads, d_model, fitting):
    train = f"{{layers: 2, heads: {heads}, d_model: {d_model}}}"
    assert errors(f"models: [{{name: a, train: {train}}}]") == [
        f"user.yaml: models[0].train.heads = {heads} does not fit d_model = {d_model}: "
        "d_model / heads must be a multiple of 8, because rotary embeddings rotate a quarter of "
        f"the dimensions of a head, in pairs; heads can be {fitting}."
    ]


@pytest.mark.parametrize(("heads", "d_model"), [(4, 64), (8, 64), (6, 192), (1, 8)])
def test_heads_whose_width_is_a_multiple_of_8_fit(load, heads, d_model):
    assert d_model % heads == 0
    assert d_model // heads % 8 == 0
    load(f"models: [{{name: a, train: {{layers: 1, heads: {heads}, d_model: {d_model}}}}}]")


def test_rules_pass_over_what_is_wrong_in_itself_and_still_see_the_rest(errors):
    assert errors("steps: [x, 7]\ntraining: {save_steps: [0, 10]}\ncircuits: {methd: eap}") == [
        "user.yaml: steps[0] = 'x' must be a whole number, at least 0.",
        "user.yaml: steps[1] = 7 is not a saved step; nearest are 0 and 10.",
        "user.yaml: circuits.methd is not a known key; did you mean 'method'?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "training: 3",
        "training: {save_steps: 5}",
        "training: {save_steps: [0, x, 10]}",
        "models: [3, {name: a}]",
        "models: [{name: [a], train: 4, steps: x}]",
        "models: [{train: {layers: 1, heads: 0, d_model: x}}]",
        "tasks: [3, {name: [a]}, {file: 3, builder: [ioi], metric: 7, corruption: []}]",
        "tasks: x",
        "transfer: {steps: [[0], x]}\nswaps: {pairs: [[[0]], x, [0, [1]]]}",
        "steps: x\ntransfer: {steps: 3}\nswaps: {pairs: {a: 1}}",
        "transfer: 3\nswaps: [3]",
    ],
)
def test_rules_survive_values_of_any_kind(errors, text):
    assert all(line.startswith("user.yaml: ") for line in errors(text))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("schedule: sprase", "schedule"),
        (
            models("name: a, circuits: maybe", "name: b, variant_of: a, circuits: false"),
            "models[0].circuits",
        ),
        (models("name: A", "name: b, variant_of: a"), "models[0].name"),
        (
            "models: [{name: a}, {name: b, train: {layers: 2, heads: 2, d_model: 32}}]",
            "models[0].train",
        ),
        (models("name: a, schedule: sprase", "name: b"), "models[0].schedule"),
    ],
)
def test_a_wrong_value_has_no_other_problems_as_a_consequence(errors, text, key):
    exchanges = "transfer: {steps: [0, 10]}\nswaps: {pairs: [[0, 10]]}"
    (line,) = errors(f"{text}\n{exchanges}\nstability: {{reference_step: 10}}")
    assert line.startswith(f"user.yaml: {key} ")


HUB = "hub: {repo: EleutherAI/pythia-70m}"


def published(*entries: str) -> str:
    return f"models: [{', '.join(f'{{{entry}}}' for entry in entries)}]"


def test_a_model_is_trained_or_published_and_not_both(errors):
    train = "train: {layers: 2, heads: 2, d_model: 32}"
    assert errors(published(f"name: a, {train}, {HUB}, steps: [0]")) == [
        "user.yaml: models[0].hub cannot be combined with train: a model is either trained "
        "here or published."
    ]
    (problem,) = errors(published("name: a"))
    assert problem.startswith("user.yaml: models[0].train is missing: Shape of a model to train.")


def test_a_suite_is_all_trained_or_all_published(errors):
    train = "train: {layers: 2, heads: 2, d_model: 32}"
    (problem,) = errors(published(f"name: a, {train}", f"name: b, {HUB}, steps: [1000]"))
    assert problem == (
        "user.yaml: models[1].hub cannot be combined with models[0].train: the models of a "
        "suite share one tokenizer; use another configuration with its own results."
    )


def test_a_step_that_pythia_was_not_published_at_gets_its_neighbours(errors):
    assert errors(f"steps: [0, 1001]\n{published(f'name: a, {HUB}')}") == [
        "user.yaml: steps[1] = 1001 is not a published step; nearest are 1000 and 2000."
    ]
    assert errors(published(f"name: a, {HUB}, steps: [513]")) == [
        "user.yaml: models[0].steps[0] = 513 is not a published step; nearest are 512 and 1000."
    ]


def test_the_steps_of_another_suite_and_of_a_folder_are_not_known_beforehand(errors, tmp_path):
    repo = "repo: allenai/OLMo-1B-hf, tokens_per_step: 4194304"
    olmo = f"hub: {{{repo}, revision: 'step{{step}}-tokens'}}"
    (tmp_path / "step7").mkdir()
    folder = f"hub: {{repo: EleutherAI/pythia-70m, folder: '{tmp_path}/step{{step}}'}}"
    models = published(f"name: a, {olmo}", f"name: b, {folder}")
    (problem,) = errors(f"steps: [7]\nzzz: 1\n{models}")
    assert problem.startswith("user.yaml: zzz")


def test_a_folder_that_no_step_has_is_named(errors, load, tmp_path):
    hub = "hub: {repo: EleutherAI/pythia-70m, folder: 'data/step{step}'}"
    models = published(f"name: a, {hub}, steps: [5, 7]")
    assert errors(models) == [
        "user.yaml: models[0].hub.folder = 'data/step{step}' exists for none of the steps; "
        "for example, there is no folder data/step5."
    ]
    (tmp_path / "data/step7").mkdir(parents=True)
    load(models)


@pytest.mark.parametrize("more", ["", ", folder: 'step{step}'"])
def test_only_of_pythia_it_is_known_how_much_text_a_step_is(errors, load, tmp_path, more):
    (tmp_path / "step0").mkdir()
    hub = f"repo: me/mine{more}"
    assert errors(published(f"name: a, steps: [0], hub: {{{hub}}}")) == [
        "user.yaml: models[0].hub.tokens_per_step is missing: Tokens that the model saw in one "
        "training step. For example 'tokens_per_step: 4194304'."
    ]
    config = load(published(f"name: a, steps: [0], hub: {{{hub}, tokens_per_step: 6}}"))
    assert config.tokens_at("a", 5) == 30
    config = load(published(f"name: a, steps: [0], {HUB}"))
    assert config.tokens_at("a", 3) == 3 * 1024 * 2048


def test_a_step_may_be_written_with_leading_zeros(load, errors):
    """As in Amber, whose checkpoints are further apart than steps usually are."""
    amber = "repo: LLM360/Amber, tokens_per_step: 3497000000"
    config = load(published(f"name: a, steps: [7], hub: {{{amber}, revision: 'ckpt_{{step:03}}'}}"))
    assert config.model("a").hub.source(7)["revision"] == "ckpt_007"
    assert config.model("a").hub.source(1234)["revision"] == "ckpt_1234"
    (problem,) = errors(
        published(f"name: a, steps: [7], hub: {{{amber}, revision: 'ckpt_{{step:3}}'}}")
    )
    assert "hub.revision = 'ckpt_{step:3}' must contain {step} once" in problem


def test_every_step_needs_a_revision_of_its_own(errors):
    hub = "hub: {repo: EleutherAI/pythia-70m, revision: main}"
    assert errors(f"steps: [0]\n{published(f'name: a, {hub}')}") == [
        "user.yaml: models[0].hub.revision = 'main' must contain {step} once, in place of "
        "its number."
    ]


def test_listed_revisions_have_the_analysed_steps(errors, load):
    hub = "hub: {repo: a/b, tokens_per_step: 6, revisions: {10: ten, 20: twenty}}"
    assert errors(published(f"name: a, steps: [10, 25], {hub}")) == [
        "user.yaml: models[0].steps[1] = 25 is not a listed step; nearest is 20."
    ]
    config = load(published(f"name: a, steps: [10, 20], {hub}"))
    assert config.model("a").hub.source(20) == {"repo": "a/b", "revision": "twenty"}


@pytest.mark.parametrize("revisions", ["{}", "{10: 'main', 20: 'main'}"])
def test_every_listed_step_has_a_revision_of_its_own(errors, revisions):
    hub = f"hub: {{repo: a/b, tokens_per_step: 6, revisions: {revisions}}}"
    assert (
        f"user.yaml: models[0].hub.revisions = {revisions} must list a revision of its own for "
        "every step."
    ) in errors(published(f"name: a, steps: [10, 20], {hub}"))


def test_a_schedule_with_steps_that_are_not_saved_names_the_first(errors):
    assert errors("schedule: sparse") == [
        "user.yaml: schedule has step 256, which is not a saved step; nearest is 20."
    ]


def test_text_for_heads_is_a_file(errors, tmp_path):
    (tmp_path / "texts").mkdir()
    assert errors("heads: {text: my.txt}") == [
        f"user.yaml: heads.text = 'my.txt' does not exist in {tmp_path}."
    ]
    assert errors("heads: {text: texts}") == [
        "user.yaml: heads.text = 'texts' must be a file, found a folder."
    ]


@pytest.mark.parametrize(
    ("results", "what"),
    [("README.md", "is a file"), ("README.md/a/b", "lies below README.md, which is a file")],
)
def test_no_file_lies_where_results_go(errors, load, tmp_path, results, what):
    (tmp_path / "README.md").touch()
    assert errors(f"results: {results}") == [
        f"user.yaml: results = '{results}' {what}; choose another folder."
    ]
    (tmp_path / "there").mkdir()
    load("results: there/new")


def test_text_for_heads_comes_from_one_place(errors, tmp_path):
    (tmp_path / "my.txt").touch()
    assert errors("heads: {text: my.txt, dataset: a/b}") == [
        "user.yaml: heads.dataset cannot be combined with heads.text; remove one of them."
    ]


SHARED = "is not a step at which all models have circuits;"


def test_steps_that_exchange_circuits_are_analysed_in_every_model_and_ascend(errors):
    two = models("name: a", "name: b, steps: [10, 20]")
    assert errors(f"{two}\ntransfer: {{steps: [0, 10]}}") == [
        f"user.yaml: transfer.steps[0] = 0 {SHARED} nearest is 10."
    ]
    apart = models("name: a", "name: b, steps: [20]")
    assert errors(f"{apart}\ntransfer: {{steps: [10]}}") == [
        f"user.yaml: transfer.steps[0] = 10 {SHARED} they share none."
    ]
    behaviour_only = models("name: a", "name: b, steps: [20], circuits: false")
    assert errors(f"{behaviour_only}\ntransfer: {{steps: [20]}}") == [
        f"user.yaml: transfer.steps[0] = 20 {SHARED} nearest is 10."
    ]
    scheduled = published(f"name: a, {HUB}, schedule: sparse")
    assert errors(f"{scheduled}\ntransfer: {{steps: [256, 600]}}") == [
        f"user.yaml: transfer.steps[1] = 600 {SHARED} nearest are 512 and 1000."
    ]
    assert errors("transfer: {steps: [10, 0]}") == [
        "user.yaml: transfer.steps[1] = 0 must be larger than 10 before it; steps must ascend, "
        "without repeats."
    ]


def test_pairs_of_steps_that_swap_heads_are_two_analysed_steps_each(errors):
    pairs = "[[10, 0], [10, 10], [10, 0], [10], [0, x], [0, 20], 5]"
    assert errors(f"swaps: {{pairs: {pairs}}}") == [
        "user.yaml: swaps.pairs[1] = [10, 10] must be two different steps.",
        "user.yaml: swaps.pairs[2] = [10, 0] repeats an earlier pair.",
        "user.yaml: swaps.pairs[3] (a list) must be a pair [source, target] of two steps.",
        "user.yaml: swaps.pairs[4][1] = 'x' must be a whole number, at least 0.",
        f"user.yaml: swaps.pairs[5][1] = 20 {SHARED} nearest is 10.",
        "user.yaml: swaps.pairs[6] = 5 must be a pair [source, target] of two steps.",
    ]


def test_nothing_is_said_about_exchanges_while_it_is_not_known_which_steps_are_analysed(errors):
    assert errors("steps: [0, x]\ntransfer: {steps: [7]}\nswaps: {pairs: [[7, 8]]}") == [
        "user.yaml: steps[1] = 'x' must be a whole number, at least 0."
    ]


@pytest.fixture
def csv(tmp_path) -> str:
    rows = ["clean,corrupted,correct,wrong", *["Mary is,John is, she, he"] * 10]
    (tmp_path / "mine.csv").write_text("\n".join(rows), encoding="utf-8")
    return "mine.csv"


def test_a_name_that_is_no_built_in_task_gets_the_nearest(errors):
    assert errors("tasks: [{name: greater_then}]") == [
        "user.yaml: tasks[0].name = 'greater_then' is not a built-in task "
        f"({', '.join(BUILDERS)}), so the task needs a builder or a file; "
        "did you mean 'greater_than'?"
    ]


def test_a_file_that_does_not_exist_is_named(errors):
    assert errors("tasks: [{name: a, file: data/no.csv, metric: logit_diff}]") == [
        f"user.yaml: tasks[0].file = 'data/no.csv' does not exist in {Path.cwd()}."
    ]


def test_a_file_without_the_right_columns_is_found_before_anything_runs(errors, csv):
    Path(csv).write_text("clean;corrupted;correct;wrong\n", encoding="utf-8")
    (line,) = errors(f"tasks: [{{name: a, file: {csv}, metric: logit_diff}}]")
    assert line.startswith(
        "user.yaml: tasks[0].file = 'mine.csv' cannot be used: line 1 must name the columns: "
    )
    assert line.endswith("; put commas between them, not ';'.")


def test_a_bad_row_is_found_before_anything_runs(errors, csv):
    with Path(csv).open("a", encoding="utf-8") as file:
        file.write("\nMary is,,,\n")
    assert errors(f"tasks: [{{name: a, file: {csv}, metric: logit_diff}}]") == [
        "user.yaml: tasks[0].file = 'mine.csv' cannot be used: 1 of 11 rows break a rule",
        "  line 12: corrupted is empty; correct has an empty answer; wrong has an empty answer.",
    ]


def test_a_file_must_have_a_known_ending(errors):
    assert errors("tasks: [{name: a, file: mine.txt, metric: logit_diff}]") == [
        "user.yaml: tasks[0].file = 'mine.txt' must be a path that ends in .csv, .jsonl, .json or "
        ".parquet."
    ]


def test_a_task_has_a_file_or_a_builder_but_not_both(errors, csv):
    assert errors(f"tasks: [{{name: a, builder: ioi, file: {csv}, metric: logit_diff}}]") == [
        "user.yaml: tasks[0].builder cannot be combined with file: a task has one source of "
        "prompts; remove one of them."
    ]


def test_a_file_needs_a_metric(errors, csv):
    assert errors(f"tasks: [{{name: a, file: {csv}}}]") == [
        "user.yaml: tasks[0].metric is missing: Score of a prompt. Only for a task with a "
        "file: a builder has a fixed metric. For example 'metric: logit_diff'."
    ]


def test_a_builder_fixes_its_metric(errors):
    assert errors("tasks: [{name: sva, metric: logit_diff}]") == [
        "user.yaml: tasks[0].metric is only for a task with a file; the builder sva has the "
        "fixed metric prob_diff."
    ]


@pytest.mark.parametrize("builder", ["gendered_pronoun", "greater_than", "sva"])
def test_only_ioi_has_a_corruption(errors, builder):
    assert errors(f"tasks: [{{name: a, builder: {builder}, corruption: s2_to_io}}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_io' is only for the builder ioi."
    ]


def test_a_file_has_no_corruption(errors, csv):
    task = f"{{name: ioi, file: {csv}, metric: logit_diff, corruption: s2_to_io}}"
    assert errors(f"tasks: [{task}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_io' is only for the builder ioi."
    ]


def test_an_unknown_corruption_is_reported_once(errors):
    assert errors("tasks: [{name: sva, corruption: s2_to_oi}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_oi' must be one of s2_to_io, s2_to_random or "
        "null; did you mean 's2_to_io'?"
    ]


@pytest.mark.parametrize("builder", ["ioi", "greater_than"])
def test_prompts_that_are_drawn_at_random_need_a_number(errors, builder):
    assert errors(f"tasks: [{{name: {builder}, n_prompts: null}}]") == [
        "user.yaml: tasks[0].n_prompts = null takes all prompts, but the builder "
        f"{builder} draws them at random; give a number."
    ]


def test_the_home_directory_and_environment_variables_are_expanded_in_every_path(
    load, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    (tmp_path / "data/step0").mkdir(parents=True)
    (tmp_path / "text.txt").touch()
    rows = ["clean,corrupted,correct,wrong", *["Mary is,John is, she, he"] * 10]
    (tmp_path / "mine.csv").write_text("\n".join(rows), encoding="utf-8")
    hub = "hub: {repo: EleutherAI/pythia-70m, folder: '$DATA/step{step}'}"
    config = load(
        "results: ~/out\nheads: {text: $HOME/text.txt}\n"
        "tasks: [{name: mine, file: '${HOME}/mine.csv', metric: logit_diff}]\n"
        f"{published(f'name: a, steps: [0], {hub}')}"
    )
    assert config.results == f"{tmp_path}/out"
    assert config.heads.text == f"{tmp_path}/text.txt"
    assert config.tasks[0].file == f"{tmp_path}/mine.csv"
    assert config.models[0].hub.folder == f"{tmp_path}/data/step{{step}}"
    monkeypatch.setenv("DATA", "there/")
    assert load("results: $DATA").results == "there"
    assert load("results: a~b/$").results == "a~b/$"
    assert load("results: ${HOME}/out/").results == f"{tmp_path}/out"


@pytest.mark.parametrize("path", ["a{b", "a}b", "$BRACES/out", "{suite}"])
def test_the_folder_of_results_has_no_braces_also_after_expansion(errors, monkeypatch, path):
    monkeypatch.setenv("BRACES", "{a}")
    expanded = path.replace("$BRACES", "{a}")
    assert errors(f"results: '{path}'") == [
        f"user.yaml: results = '{expanded}' must be a path without braces."
    ]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("$NOWHERE/out", "uses the environment variable NOWHERE, which is not set."),
        ("out/$NOWHERE", "uses the environment variable NOWHERE, which is not set."),
        ("~nobody-at-all/out", "names a user without a home directory."),
        ("$NOTHING", "is an empty path."),
    ],
)
def test_a_path_that_cannot_be_expanded_is_refused(errors, monkeypatch, path, what):
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("NOTHING", "")
    assert errors(f"results: {path}") == [f"user.yaml: results = '{path}' {what}"]
    assert errors(f"heads: {{text: {path}}}") == [f"user.yaml: heads.text = '{path}' {what}"]


@pytest.mark.parametrize("path", ["LONG", "out/LONG", "LONG/out"])
def test_a_path_with_a_name_too_long_for_a_file_system_is_refused(errors, path):
    long = "a" * 256
    assert errors(f"results: {path.replace('LONG', long)}") == [
        "user.yaml: results has a name of 256 bytes in its path; file systems allow at most 255."
    ]


def test_a_clone_of_published_results_has_graphs(errors, tmp_path):
    assert errors("compare: {published: nowhere}") == [
        "user.yaml: compare.published = 'nowhere' has no folder results/graphs; it must be a clone."
    ]


def test_a_clone_has_graphs_of_a_model_of_the_run(errors, load, tmp_path):
    planted = Planted(tmp_path / "clone")
    planted.graph("pythia-70m", "ioi", 10, n_layers=1, n_heads=1, edges=())
    assert errors("compare: {published: clone}") == [
        "user.yaml: compare.published = 'clone' has no graphs of tiny; it has models named "
        "pythia-70m."
    ]
    planted.graph("tiny", "ioi", 10, n_layers=1, n_heads=1, edges=())
    assert load("compare: {published: clone}").compare.published == "clone"


def test_node_circuits_are_not_held_against_edge_circuits_of_the_authors(errors, load, tmp_path):
    planted = Planted(tmp_path / "clone")
    planted.graph("tiny", "ioi", 10, n_layers=1, n_heads=1, edges=())
    assert errors("compare: {published: clone}\ncircuits: {level: node}") == [
        "user.yaml: compare.published cannot be combined with circuits.level: node: the authors' "
        "circuits are of edges, and the noise floor of node circuits says nothing of them; remove "
        "one of them."
    ]
    assert load("compare: {published: clone}\ncircuits: {level: edge}").compare.published


@pytest.mark.parametrize("selection", ["greedy", "top_n"])
def test_node_circuits_have_no_selection_of_edges(errors, load, selection):
    assert errors(f"circuits: {{level: node, selection: {selection}}}") == [
        "user.yaml: circuits.selection cannot be combined with circuits.level: node: it is about "
        "edges, and nodes are taken by their scores; remove one of them."
    ]
    assert load("circuits: {level: node}").circuits.order == "nodes"
    assert load(f"circuits: {{level: edge, selection: {selection}}}").circuits.order == selection


def test_a_job_gets_every_setting_of_node_circuits(load):
    """It has the selection as well, which the user did not set."""
    settings = load("circuits: {level: node}").circuits
    assert Circuits(**settings.model_dump(mode="json")) == settings


def test_nothing_is_said_of_node_circuits_while_the_level_is_not_known(errors):
    (line,) = errors("circuits: {level: nodes, selection: greedy}")
    assert line.startswith("user.yaml: circuits.level = 'nodes' must be one of")
