import re
import shutil
import time
from collections import Counter

import pytest
import yaml

from circuitlapse.figures import registry
from circuitlapse.tables.registry import JOBS
from tests.workflow.conftest import ROOT

FIGURES = {f"plot_{name}" for name in registry.FIGURES}
TABLES = {f"aggregate_{name}" for name in JOBS}
ONCE = {"all", "make_corpus", *TABLES, *FIGURES, "build_explorer"}


@pytest.mark.parametrize("config", [None, "config/smoke.yaml"], ids=["default", "smoke"])
@pytest.mark.parametrize("per_job", ["all", 1])
def test_each_configuration_plans_one_job_per_model_and_step(workflow, config, per_job):
    """Or one per task where tasks have jobs of their own."""
    written = yaml.safe_load((workflow.folder / (config or "config/config.yaml")).read_text())
    models, tasks = (len(written[key]) for key in ("models", "tasks"))
    at = sum(len(model.get("steps", written["steps"])) for model in written["models"])
    of_tasks = at if per_job == "all" else at * tasks
    planned = workflow.jobs("--config", f"compute={{tasks_per_job: {per_job}}}", config=config)
    assert planned == dict.fromkeys(ONCE, 1) | {
        "train_suite": models,
        "verify_model": models,
        "make_task": tasks,
        "cache_activations": of_tasks,
        "discover_circuit": of_tasks,
        "score_heads": at,
        "trace_algorithm": at,
        "plot_circuit_diagram": tasks,
        "transfer_circuits": models,
        "swap_components": models,
    }


def test_the_graph_of_jobs_can_be_drawn(workflow):
    graph = workflow.run("--dag")
    jobs = Counter(re.findall(r'label = "(\w+)', graph))
    assert "digraph" in graph
    assert jobs == workflow.jobs()


def test_every_stage_can_be_asked_for_by_name(workflow):
    assert set(workflow.jobs("models")) == {"models", "make_corpus", "train_suite"}
    assert "aggregate_circuits" not in workflow.jobs("circuits")
    assert {"score_heads", "trace_algorithm"} <= set(workflow.jobs("algorithms"))
    assert "plot_circuits" not in workflow.jobs("tables")
    assert "plot_circuits" in workflow.jobs("figures")
    keep = ("--config", "activations={keep: true}")
    made = {"make_corpus", "train_suite", "make_task", "verify_model", "cache_activations"}
    assert set(workflow.jobs("activations", *keep)) == {"activations", *made}
    assert set(workflow.jobs("activations")) == {"activations"}


def test_from_another_folder_the_configuration_beside_the_snakefile_comes_first(workflow):
    """Also with `--configfile`, where Snakemake would leave it out without a word."""
    shutil.rmtree(workflow.folder / "config")
    (workflow.folder / "mine.yaml").write_text("steps: [0, 1]\nresults: mine\n")
    planned = workflow.jobs(config="mine.yaml")
    assert planned["train_suite"] == 3  # sizes, at two steps each
    assert planned["cache_activations"] == 3 * 2
    assert not (ROOT / "mine").exists()


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ("tables/*.csv", TABLES),
        ("figures/*.pdf", FIGURES),
        ("figures/*.png", FIGURES),
        ("explorer.html", {"build_explorer"}),
    ],
)
def test_every_format_of_tables_and_figures_is_made_again_when_it_was_deleted(copied, files, rules):
    for path in (copied.folder / "results-smoke").glob(files):
        path.unlink()
    assert rules <= set(copied.jobs())


PYTHIA = ("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1.4b", "pythia-2.8b")


def test_the_paper_s_grid_is_planned_in_full(workflow):
    """Five sizes with circuits and two without, 45 steps each."""
    began = time.monotonic()
    planned = workflow.jobs(config="config/pythia.yaml")
    assert time.monotonic() - began < 60
    steps, sizes = 45, len(PYTHIA)
    expected = {
        "fetch_step": (sizes + 2) * steps,
        "cache_activations": sizes * steps,
        "measure_behaviour": 2 * steps,
        "discover_circuit": sizes * steps,
        "score_heads": sizes * steps,
        "make_task": 4,
        "take_tokenizer": 1,
        "fetch_text": 1,
    }
    assert {rule: planned[rule] for rule in expected} == expected
    assert not {"make_corpus", "train_suite"} & set(planned)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("pythia-quick", 2 * 12),
        ("pythia-seeds", 13 * 28),
        ("olmo2-1b", 12),
        ("smollm2", 8 + 8 + 9),
        ("stanford-gpt2", 5 * 16),
    ],
)
def test_the_other_published_suites_are_planned_in_full(workflow, name, steps):
    """The alternative for 2.8 B is the paper's grid with another repository."""
    planned = workflow.jobs(config=f"config/{name}.yaml")
    assert planned["fetch_step"] == planned["discover_circuit"] == steps


def test_the_target_models_leaves_nothing_to_fetch(workflow):
    """So it can run where there is a network, and everything else on nodes without one."""
    config, keep = (
        "config/pythia-quick.yaml",
        ("--config", "checkpoints={keep: true, at_once: 9999}"),
    )
    first, every = (workflow.jobs(*what, *keep, config=config) for what in (("models",), ()))
    online = {"audit_hub", "fetch_step", "take_tokenizer", "fetch_text"}
    assert online == rules_that_use("downloads")
    assert {rule: first[rule] for rule in online} == {rule: every[rule] for rule in online}
    assert set(first) == online | {"models", "reserve_disk"}


def test_every_profile_limits_downloads():
    """Without a limit `downloads` would do nothing. GPUs are counted when a run starts."""
    profiles = ROOT / "workflow/profiles"
    local, slurm = (
        yaml.safe_load((profiles / name / "config.yaml").read_text())["resources"]
        for name in ("local", "slurm")
    )
    assert rules_that_use("downloads")
    assert slurm == local == {"downloads": 2}
    allocation = (profiles / "slurm/one_allocation.sh").read_text()
    assert " --resources downloads=2 " in allocation


def rules_that_use(resource: str) -> set[str]:
    """Return the names of all rules that ask for a resource."""
    text = "\n".join(file.read_text() for file in ROOT.glob("workflow/rules/*.smk"))
    rules = re.split(r"^ *rule (\w+):", text, flags=re.MULTILINE)[1:]
    return {
        name for name, body in zip(rules[::2], rules[1::2], strict=True) if f" {resource}=" in body
    }


def test_a_checkpoint_is_fetched_only_when_an_earlier_one_is_done_with(workflow):
    """With one at a time, the second waits for the circuits of the first; else for nothing."""
    target = "results-pythia-quick/models/pythia-70m/step64"
    alone = workflow.jobs(target, config="config/pythia-quick.yaml")
    assert alone == {"audit_hub": 1, "reserve_disk": 1, "fetch_step": 1}
    one = ("--config", "checkpoints={at_once: 1}")
    planned = workflow.jobs(target, *one, config="config/pythia-quick.yaml")
    assert planned["fetch_step"] == 2
    assert planned["discover_circuit"] == planned["score_heads"] == 1
