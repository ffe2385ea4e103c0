"""What rules ask for, on the configurations that come with the project."""

import re
import subprocess
import sys

import pytest
import yaml

from circuitlapse.config import load_config
from circuitlapse.errors import UnknownNameError
from circuitlapse.figures.registry import FIGURES
from circuitlapse.plan.workflow import (
    Plan,
    paths,
    pattern_of,
)
from circuitlapse.tables.registry import JOBS


@pytest.fixture
def plan(root):
    """Returns the plan of a file in `config/` on top of the default, with some keys changed."""

    def plan(name="smoke", **changes):
        files = [root / "config/config.yaml", root / f"config/{name}.yaml"]
        default, asked = (yaml.safe_load(file.read_text()) for file in files)
        return Plan(load_config(default | asked | changes, files))

    return plan


def test_a_template_is_filled_with_every_combination_and_other_names_are_ignored():
    found = paths("{a}/{b}.txt", a=["x", "y"], b=(1, 2), c=["unused", "too"])
    assert found == ["x/1.txt", "x/2.txt", "y/1.txt", "y/2.txt"]
    assert paths("{a}", a="word") == ["word"]


def test_wildcards_match_the_names_of_the_run_only():
    assert pattern_of(["pythia-1.4b", "b"]) == r"pythia\-1\.4b|b"
    assert pattern_of([]) == "(?!)"


def test_models_with_and_without_circuits_are_told_apart(plan):
    pythia = plan("pythia")
    assert [model.name for model in pythia.analysed] == pythia.models[:5]
    assert len(pythia.per_model("{model}")) == 5
    assert len(pythia.per_step("{model}/{step}")) == 5 * 45
    assert len(pythia.per_step("{model}/{step}", pythia.config.models)) == 7 * 45


def test_tables_are_made_from_one_file_per_model_or_per_step_and_task(plan):
    smoke, pythia = plan(), plan("pythia")
    assert smoke.files_of(JOBS["transfer"]) == {
        "transfer": ["results-smoke/transfer/pocket-tiny.parquet"]
    }
    assert len(pythia.files_of(JOBS["circuits"])["records"]) == 5 * 45 * 4
    assert len(pythia.files_of(JOBS["behaviour"])["behaviour"]) == 7 * 45 * 4
    components = smoke.files_of(JOBS["components"])
    folder = "results-smoke/algorithm/pocket-tiny"
    assert components["effects"] == [f"{folder}/step{n}/effects.parquet" for n in (0, 100, 400)]
    assert len(components["heads"]) == 3
    assert smoke.files_of(JOBS["size_correlation"]) == {}


def test_one_diagram_per_task_is_drawn_of_the_largest_model_at_its_last_step(plan):
    template = "{model}/{task}/{step}"
    assert plan().diagrams(template) == ["pocket-tiny/ioi/400", "pocket-tiny/sva/400"]
    assert plan("pythia").diagrams(template)[0] == "pythia-2.8b/ioi/143000"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("large", "ioi", "0"), "unknown model 'large' (known: pocket-tiny)"),
        (("pocket-tiny", "foo", "0"), "unknown task 'foo' (known: ioi, sva)"),
        (("pocket-tiny", "ioi", "7"), "unknown step '7' (known: 0, 100, 400)"),
    ],
)
def test_a_diagram_of_no_circuit_is_refused_with_what_there_is(plan, asked, message):
    plan().check_diagram("pocket-tiny", "ioi", "400")
    with pytest.raises(UnknownNameError, match=f"^circuit_diagram/.*: {re.escape(message)}$"):
        plan().check_diagram(*asked)


def test_a_checkpoint_waits_for_the_results_of_an_earlier_one(plan):
    quick = plan("pythia-quick", checkpoints={"at_once": 2})
    first, second, third = quick.config.models[0].steps[:3]
    assert quick.before_fetching("pythia-70m", first) == []
    assert quick.before_fetching("pythia-70m", second) == []
    waits = quick.before_fetching("pythia-70m", str(third))
    assert waits == quick.results_of("pythia-70m", first)
    results = "results-pythia-quick"
    assert f"{results}/behaviour/pythia-70m/sva/step{first}.parquet" in waits
    assert f"{results}/circuits/pythia-70m/ioi/step{first}.h5" in waits
    last = quick.config.models[0].steps[-1]
    start = quick.config.models[1].steps[1]
    assert quick.before_fetching("pythia-160m", start) == quick.results_of("pythia-70m", last)


def test_of_a_model_without_circuits_only_the_behaviour_is_made(plan):
    found = plan("pythia").results_of("pythia-12b", 0)
    folder = "results-pythia/behaviour/pythia-12b"
    tasks = ("ioi", "gendered_pronoun", "greater_than", "sva")
    assert found == [f"{folder}/{task}/step0.parquet" for task in tasks]


def test_a_job_has_the_files_of_all_tasks_or_of_one_that_is_a_wildcard(plan):
    every, one = plan(), plan(compute={"tasks_per_job": 1})
    template = "{model}/{task}/step{step}.h5"
    assert every.of_job(template) == ["{model}/ioi/step{step}.h5", "{model}/sva/step{step}.h5"]
    assert one.of_job(template) == [template]
    assert every.job_name("discover_circuit") == "discover_circuit/{model}/step{step}"
    assert one.job_name("discover_circuit") == "discover_circuit/{model}/{task}/step{step}"


@pytest.mark.parametrize(
    ("verify", "record", "job", "wildcards", "step"),
    [
        ("first", "first", "verify_model/{model}", {}, 100),
        ("all", "step{step}", "verify_model/{model}/step{step}", {"step": "400"}, 400),
    ],
)
def test_a_model_is_verified_at_its_first_step_or_at_all(
    plan, verify, record, job, wildcards, step
):
    """The name of a record about the first step does not change with the step."""
    asked = plan(checkpoints={"verify": verify}, steps=[100, 400])
    assert asked.verified == f"results-smoke/verified/{{model}}/{record}.json"
    assert asked.verify_job == job
    assert asked.verified_step("pocket-tiny", **wildcards) == step


def test_a_record_about_the_first_step_stays_valid_when_another_step_is_the_first(plan, tmp_path):
    """Unless there will be no such checkpoint: then the model is trained anew, too."""

    def step(name, **changes):
        asked = plan(name, results=str(tmp_path), **changes)
        model = asked.config.models[0].name
        record = tmp_path / f"verified/{model}/first.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text('{"step": 100}')
        return asked.verified_step(model)

    assert step("smoke", steps=[0, 100, 400]) == step("smoke", steps=[200, 400]) == 100
    training = {"save_steps": [0, 200, 400], "phases": [{"steps": 400}]}
    assert step("smoke", steps=[200, 400], training=training) == 200
    assert step("pythia-quick") == 100


@pytest.mark.parametrize("content", [b"", b"half of", b"[]", b"{}", b"\xff" * 9])
def test_a_damaged_record_of_a_verification_says_nothing_about_the_step(plan, tmp_path, content):
    asked = plan("smoke", results=str(tmp_path))
    record = tmp_path / "verified/pocket-tiny/first.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(content)
    assert asked.verified_step("pocket-tiny") == 0


def test_a_checkpoint_that_was_verified_but_is_no_longer_analysed_waits_for_nothing(plan):
    assert plan("pythia-quick").before_fetching("pythia-70m", "5") == []


def test_without_verification_there_is_no_record(plan):
    assert plan(checkpoints={"verify": "none"}).verified == ""


def test_how_work_is_divided_into_jobs_is_no_parameter_of_a_job(plan):
    assert plan(compute={"tasks_per_job": 1}).compute == plan().compute
    assert "dtype" in plan().compute


def test_heads_are_scored_on_text_of_the_user_of_a_dataset_or_held_out(plan):
    assert plan().text() == "results-smoke/corpus/pocket/held_out.txt"
    assert plan(heads={"text": "README.md"}).text() == "README.md"
    assert plan("pythia-quick").text() == "results-pythia-quick/text/pythia/text.txt"
    assert plan("pythia-quick", heads={"dataset": None}).text() == []


def test_activations_are_a_target_only_if_they_are_kept(plan):
    assert plan().kept_activations() == []
    assert len(plan(activations={"keep": True}).kept_activations()) == 3 * 2


def test_a_checkpoint_is_identified_by_model_variant_step_and_tokens(plan):
    expected = {"model": "pocket-tiny", "variant": "seed1", "step": 400, "tokens": 400 * 24 * 48}
    assert plan().where("pocket-tiny", "400") == expected
    assert plan("pythia-quick").where("pythia-70m", 1)["tokens"] == 2**21


def test_transfer_takes_all_steps_or_those_that_are_named(plan):
    assert [each["step"] for each in plan().transferred("pocket-tiny")] == [0, 100, 400]
    some = plan(transfer={"steps": [0, 400]})
    inputs = some.transfer_inputs("pocket-tiny")
    assert [each["step"] for each in some.transferred("pocket-tiny")] == [0, 400]
    assert inputs["models"] == [f"results-smoke/models/pocket-tiny/step{n}" for n in (0, 400)]
    assert len(inputs["circuits"]) == 2 * 2
    assert "seeds" not in inputs


def test_a_transfer_waits_for_the_circuits_of_other_seeds_at_the_same_steps(plan):
    seeds = plan("pythia-seeds")
    steps, tasks = seeds.config.transfer_steps("pythia-160m"), seeds.tasks
    for model, others in (("pythia-160m", 9), ("seed1", 9), ("alldropout", 0)):
        found = seeds.transfer_inputs(model).get("seeds", [])
        assert len(found) == others * len(steps) * len(tasks)
        assert not any(f"/{model}/" in path for path in found)


def test_swaps_take_every_checkpoint_and_what_is_known_of_heads_where_they_are_lent(plan):
    inputs = plan().swap_inputs("pocket-tiny")
    assert [each["step"] for each in plan().swapped("pocket-tiny")] == [0, 100, 400]
    assert len(inputs["models"]) == 3
    circuits = [f"results-smoke/circuits/pocket-tiny/{task}/step400.h5" for task in ("ioi", "sva")]
    assert inputs["circuits"] == circuits
    assert inputs["roles"] == ["results-smoke/algorithm/pocket-tiny/step400/roles.parquet"]
    assert "heads" not in inputs  # no Greater-Than task
    every = plan(tasks=[{"name": "greater_than"}], swaps={"pairs": [[0, 400], [0, 100]]})
    inputs = every.swap_inputs("pocket-tiny")
    assert inputs["heads"] == ["results-smoke/heads/pocket-tiny/step0.parquet"]
    assert "roles" not in inputs


def test_rules_about_known_tasks_ask_for_those_that_there_are(plan):
    assert set(plan().ioi_prompts("pocket-tiny", 0)) == {"task", "activations"}
    assert set(plan().known_tasks("pocket-tiny", 0)) == {"ioi_task", "ioi_circuit"}
    gt = plan(tasks=[{"name": "years", "builder": "greater_than"}])
    assert gt.ioi_prompts("pocket-tiny", 0) == {}
    assert gt.known_tasks("pocket-tiny", "400") == {
        "gt_task": "results-smoke/tasks/pocket/years.parquet",
        "gt_circuit": "results-smoke/circuits/pocket-tiny/years/step400.h5",
        "gt_activations": "results-smoke/activations/pocket-tiny/years/step400.h5",
    }


def test_a_task_of_one_s_own_needs_its_file(plan, tmp_path):
    file = tmp_path / "mine.csv"
    rows = [f"So Ann {n} is,So Bob {n} is, she, he" for n in range(10)]
    file.write_text("\n".join(["clean,corrupted,correct,wrong", *rows]))
    mine = {"name": "mine", "file": str(file), "metric": "logit_diff"}
    assert plan(tasks=[mine]).prompt_file("mine") == {"file": str(file)}
    assert plan().prompt_file("ioi") == {}


def test_standard_pythia_models_are_known_by_their_size(plan):
    assert plan("pythia-quick").pythia_sizes() == {"70m": "pythia-70m", "160m": "pythia-160m"}
    assert plan().pythia_sizes() == {}


@pytest.mark.parametrize("name", ["smoke", "config", "pythia"])
def test_every_setting_of_the_registries_has_a_value(plan, name):
    tables, figures = plan(name).table_settings, plan(name).figure_settings
    assert set(tables) == {setting for job in JOBS.values() for setting in job.settings}
    assert set(figures) == {setting for figure in FIGURES.values() for setting in figure.settings}


def test_figures_label_originals_and_group_their_variants(plan):
    settings = plan("pocket-seeds").figure_settings
    assert set(settings["labels"]) == set(settings["variants"]) < set(settings["run_labels"])
    grouped = [name for names in settings["variants"].values() for name in names]
    assert sorted(grouped) == sorted(settings["run_labels"])


def test_a_job_asks_for_its_models_a_forward_pass_and_what_it_needs_besides(plan, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(2 * 2**20))
    # swapping holds two models
    assert plan().memory_mb("swap_components", [tmp_path], 1) == 1500 + 500 + 2 * 6 + 350
    assert plan().memory_mb("score_heads", [tmp_path], 2) == 2 * (1000 + 500 + 6) + 350


def test_with_a_gpu_cuda_takes_memory_of_the_host_and_else_the_forward_pass_does(plan):
    assert (plan().gpus, plan().forward_mb) == (0, 500)
    assert plan(compute={"memory_mb": 700}).forward_mb == 700
    cuda = plan(compute={"device": "cuda", "memory_mb": 700})
    assert (cuda.gpus, cuda.forward_mb) == (1, 3000)


def test_what_changes_no_result_is_no_parameter_of_a_rule(plan):
    asked = {"device": "cuda", "dtype": "bfloat16", "matmul": "tf32"}
    shared = plan(compute={**asked, "gpus": [1], "jobs_per_gpu": 3}).compute
    assert shared == plan(compute=asked).compute
    assert shared.items() > asked.items()


def test_snakemake_reads_the_plan_without_torch_and_pandas():
    code = "import circuitlapse.plan.workflow, sys;"
    code += "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_explorer_gets_labels_variants_and_widths(plan):
    smoke, pythia = plan().explorer_settings, plan("pythia-seeds").explorer_settings
    assert smoke["tasks"] == ["ioi", "sva"]
    label, variant_of, width = smoke["models"]["pocket-tiny"]
    assert variant_of is None
    assert label
    assert width == plan().config.models[0].train.d_model
    assert {width for _, _, width in pythia["models"].values()} == {768}
    assert "pythia-160m" in {variant for _, variant, _ in pythia["models"].values()}
