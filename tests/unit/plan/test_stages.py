import re
from pathlib import Path

import pytest

from circuitlapse.models.activations import DIMS, cache_activations
from circuitlapse.plan import cost
from circuitlapse.plan.cost import PYTHIA_SHAPES, Prompts, Shape
from circuitlapse.plan.hardware import DISK_GB_PER_S, START_S, USABLE, Machine, find_gpu
from circuitlapse.plan.requests import REQUESTS
from circuitlapse.plan.stages import (
    activations_gb,
    cached_gb,
    checkpoints_gb,
    download_gb,
    jobs_per_gpu,
    stages,
)
from circuitlapse.plan.workflow import Plan
from circuitlapse.settings.analysis import Compute
from tests.unit.plan.conftest import PUBLISHED, config_of, of_model


def test_every_rule_has_a_job_per_model_and_step(root):
    found = stages(config_of(root, "pythia"), Machine.of(find_gpu("h100"), Compute()))
    jobs = {(stage.rule, stage.model): stage.jobs for stage in found}
    assert jobs["discover_circuit", "pythia-2.8b"] == 45
    assert {rule for rule, model in jobs if model == "pythia-12b"} == {"measure_behaviour"}
    assert jobs["measure_behaviour", "pythia-12b"] == 45
    assert {rule for rule, _ in jobs} == rules_that_run_models(root)
    assert all(stage.hours > 0 and stage.gpu_gb < stage.ram_gb + 80 for stage in found)


def test_with_a_job_per_task_only_more_starts_and_reading_models_are_added(root):
    instant = Machine(per_second=1e30, memory_gb=80.0)
    every, one = (
        {
            (stage.rule, stage.model): stage
            for stage in stages(config_of(root, "pythia", **changes), instant)
        }
        for changes in ({}, {"compute": {"tasks_per_job": 1}})
    )
    assert every.keys() == one.keys()
    divided = {"cache_activations", "measure_behaviour", "discover_circuit"}
    for (rule, model), stage in every.items():
        jobs = stage.jobs * (4 if rule in divided else 1)
        assert one[rule, model].jobs == jobs
        weights_gb = PUBLISHED[model.removeprefix("pythia-")] * 2 / 1e9
        more = (jobs - stage.jobs) * (START_S + weights_gb / DISK_GB_PER_S) / 3600
        assert one[rule, model].hours == pytest.approx(stage.hours + more)


def test_downloads_are_two_bytes_per_weight_and_step(root):
    config = config_of(root, "pythia-quick")
    each = (PUBLISHED["70m"] + PUBLISHED["160m"]) * 2 / 1e9
    assert download_gb(config) == pytest.approx(12 * each)


def rules_that_run_models(root: Path) -> set[str]:
    """Return the rules of the workflow that request a GPU, and copies of such rules."""
    text = "\n".join(file.read_text() for file in root.glob("workflow/rules/*.smk"))
    named = {rule.split(":")[0] for rule in text.split("\nrule ")[1:] if "gpu=PLAN.gpus" in rule}
    copies = re.findall(r"\nuse rule (\w+) as (\w+) with", text)
    return named | {copy for original, copy in copies if original in named}


def test_the_memory_of_a_job_is_what_the_workflow_requests(root):
    config = config_of(root, "pythia")
    assert set(REQUESTS) == rules_that_run_models(root)
    for stage in stages(config, Machine.of(find_gpu("h100"), Compute())):
        files = 2 * PUBLISHED[stage.model.removeprefix("pythia-")]
        models = 3 * REQUESTS[stage.rule].models * files
        requested = Plan(config).memory_mb(stage.rule, ["missing"], attempt=1) * 2**20
        assert stage.ram_gb * 1e9 == pytest.approx(requested + models)


def test_swapping_holds_two_models(root):
    gpu_gb = {stage.rule: stage.gpu_gb for stage in of_model(root, "pythia-2.8b")}
    weights = PUBLISHED["2.8b"] * 4 / 1e9
    assert gpu_gb["swap_components"] == pytest.approx(1.5 + 2 * 1.1 * weights)
    assert gpu_gb["discover_circuit"] > 1.5 + 1.1 * weights


def test_runs_are_as_large_as_what_is_computed(random_model, random_pairs, root):
    runs, cfg = cache_activations(random_model, random_pairs), random_model.cfg
    (task,) = config_of(root, "pythia").tasks[1:2]
    numbers = random_pairs.clean.shape
    shape = Shape(cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_vocab, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "prompts_of", lambda _: Prompts(*numbers))
        estimated = cached_gb(shape, [task], "float32") * 1e9
    computed = sum(
        getattr(side, name).numel() * 4 for side in (runs.clean, runs.corrupted) for name in DIMS
    )
    assert estimated == pytest.approx(computed, rel=0.1)


def test_jobs_take_longer_where_activations_are_larger(root):
    seconds = {}
    for dtype in ("float32", "float16"):
        config = config_of(root, "pythia-quick", activations={"dtype": dtype})
        machine = Machine(per_second=1e30, memory_gb=80.0)
        found = stages(config, machine)
        seconds[dtype] = {stage.rule: stage.hours * 3600 / stage.jobs for stage in found}
    more = {
        rule: seconds["float32"][rule] - seconds["float16"][rule] for rule in seconds["float32"]
    }
    shape, tasks = PYTHIA_SHAPES["160m"], config.tasks
    half = cached_gb(shape, tasks, "float32") - cached_gb(shape, tasks, "float16")
    assert more["cache_activations"] == pytest.approx(half)
    assert more["discover_circuit"] == pytest.approx(half)
    assert 0 < more["score_heads"] < half
    assert more["transfer_circuits"] == pytest.approx(0)


def test_keeping_files_needs_more_disk_space(root):
    usual = config_of(root, "pythia")
    kept = config_of(root, "pythia", checkpoints={"keep": True})
    on_disk = [checkpoints_gb(config) + activations_gb(config) for config in (kept, usual)]
    assert on_disk[0] > 2 * on_disk[1]
    kept = config_of(root, "pythia", activations={"keep": True})
    assert activations_gb(kept) > 10 * activations_gb(usual)


def test_models_without_circuits_leave_no_activations(root):
    small, large = (
        {"name": name, "hub": {"repo": f"EleutherAI/{name}"}}
        for name in ("pythia-70m", "pythia-12b")
    )
    alone = config_of(root, "pythia-quick", models=[small])
    beside = config_of(root, "pythia-quick", models=[small, large | {"circuits": False}])
    assert activations_gb(beside) == activations_gb(alone)


def test_as_many_jobs_share_a_gpu_as_the_largest_of_them_allows(root):
    config = config_of(root, "pythia")
    needed = max(one.gpu_gb for one in stages(config, Machine.of(find_gpu("h100"), Compute())))
    assert 48 < needed < 80  # 12 B in float32, whose weights are 47 GB
    for copies, jobs in ((0.5, 1), (1.2, 1), (2.01, 2), (2.9, 2), (9.9, 4)):
        assert jobs_per_gpu(config, copies * needed / USABLE) == jobs
    assert jobs_per_gpu(config_of(root, "smoke"), 16.0) == 4
