import re
from pathlib import Path

import pytest
import yaml

from circuitlapse.config import load_config
from circuitlapse.errors import UnknownNameError
from circuitlapse.models.activations import DIMS, cache_activations
from circuitlapse.plan import cost
from circuitlapse.plan.__main__ import report
from circuitlapse.plan.cost import PYTHIA, Prompts, Shape, Work, forward, shape_of
from circuitlapse.plan.hardware import GPUS, Machine, gpu_called
from circuitlapse.plan.stages import (
    Stage,
    activations_gb,
    checkpoints_gb,
    download_gb,
    runs_gb,
    stages,
)

PUBLISHED = {
    "70m": 70_426_624,
    "160m": 162_322_944,
    "410m": 405_334_016,
    "1b": 1_011_781_632,
    "1.4b": 1_414_647_808,
    "2.8b": 2_775_208_960,
    "6.9b": 6_857_302_016,
    "12b": 11_846_072_320,
}
"""Parameters, from the table in the README of EleutherAI/pythia."""


def config_of(root: Path, name: str, **changes):
    files = [root / "config/config.yaml", root / f"config/{name}.yaml"]
    merged = {}
    for file in files:
        merged |= yaml.safe_load(file.read_text())
    return load_config(merged | changes, files)


@pytest.mark.parametrize("size", PYTHIA)
def test_every_size_has_its_published_number_of_parameters(size):
    assert PYTHIA[size].parameters == PUBLISHED[size]


def test_operations_of_a_forward_pass_are_those_of_its_matrix_products():
    """Two per weight of a layer and token; queries to outputs 4 d^2, the MLP 8 d^2."""
    shape = PYTHIA["160m"]
    weights = 12 * (4 + 8) * 768**2
    work = forward(shape, Prompts(count=3, tokens=5))
    assert work.operations == 3 * (5 * 2 * weights + 2 * 768 * 50304)
    assert work.passes == 1


def test_a_job_takes_its_start_its_reading_and_the_slower_of_arithmetic_and_kernels():
    shape, machine = PYTHIA["70m"], Machine(per_second=1e12, memory_gb=80.0)
    assert machine.seconds(Work(5e12, 1.0, 3.0), shape) == pytest.approx(10 + 3 + 5)
    assert machine.seconds(Work(0.0, 1000.0), shape) == pytest.approx(10 + 1000 * 6 * 60 * 8e-6)


def test_every_rule_has_a_job_per_model_and_step(root):
    found = stages(config_of(root, "pythia"), Machine.of(gpu_called("h100")))
    jobs = {(stage.rule, stage.model): stage.jobs for stage in found}
    assert jobs["discover_circuit", "pythia-2.8b"] == 45
    assert {rule for rule, model in jobs if model == "pythia-12b"} == {"measure_behaviour"}
    assert jobs["measure_behaviour", "pythia-12b"] == 45
    assert {rule for rule, _ in jobs} == rules_that_run_models(root)
    assert all(stage.hours > 0 and stage.gpu_gb < stage.ram_gb + 80 for stage in found)


def test_downloads_are_two_bytes_per_weight_and_step(root):
    config = config_of(root, "pythia-quick")
    each = (PUBLISHED["70m"] + PUBLISHED["160m"]) * 2 / 1e9
    assert download_gb(config) == pytest.approx(12 * each)


def rules_that_run_models(root: Path) -> set[str]:
    """Return the rules of the workflow that ask for a GPU."""
    return set(asked_memory(root))


def asked_memory(root: Path) -> dict[str, tuple[int, int]]:
    """Return, of each of them, the MB that it asks for beside models, and how many it loads."""
    found = {}
    texts = [file.read_text() for file in root.glob("workflow/rules/*.smk")]
    for text in texts:
        for rule in text.split("\nrule ")[1:]:
            if "gpu=GPUS" in rule:
                name, mb, models = re.findall(
                    r"(?s)^(\w+):.*memory_with_models\((\d+) \+ FORWARD_MB(?:, at_once=(\d))?\)",
                    rule,
                )[0]
                found[name] = int(mb), int(models or 1)
    copies = re.findall(r"\nuse rule (\w+) as (\w+) with", "\n".join(texts))
    return found | {name: found[original] for original, name in copies}


def test_the_memory_of_a_job_is_what_the_workflow_asks_for(root):
    found = stages(config_of(root, "pythia"), Machine.of(gpu_called("h100")))
    asked = asked_memory(root)
    for stage in found:
        mb, models = asked[stage.rule]
        files = 2 * PUBLISHED[stage.model.removeprefix("pythia-")]
        least = (mb + 3000 + 350) * 2**20 + 3 * models * files
        assert least <= stage.ram_gb * 1e9 < least + 0.6e9


def test_swapping_holds_two_models(root):
    gpu_gb = {stage.rule: stage.gpu_gb for stage in of_model(root, "pythia-2.8b")}
    weights = PUBLISHED["2.8b"] * 4 / 1e9
    assert gpu_gb["swap_components"] == pytest.approx(1.5 + 2 * 1.3 * weights)
    assert gpu_gb["discover_circuit"] > 1.5 + 1.3 * weights


def of_model(root: Path, model: str) -> list[Stage]:
    found = stages(config_of(root, "pythia"), Machine.of(gpu_called("h100")))
    return [stage for stage in found if stage.model == model]


def test_runs_are_as_large_as_what_is_computed(random_model, random_pairs, root):
    runs, cfg = cache_activations(random_model, random_pairs), random_model.cfg
    (task,) = config_of(root, "pythia").tasks[1:2]
    numbers = random_pairs.clean.shape
    shape = Shape(cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_vocab, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "prompts_of", lambda _: Prompts(*numbers))
        estimated = runs_gb(shape, [task], "float32") * 1e9
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
    shape, tasks = PYTHIA["160m"], config.tasks
    half = runs_gb(shape, tasks, "float32") - runs_gb(shape, tasks, "float16")
    assert more["cache_activations"] == pytest.approx(half)
    assert more["discover_circuit"] == pytest.approx(half)
    assert 0 < more["score_heads"] < half
    assert more["transfer_circuits"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("builder", "sets"), [("ioi", 5), ("greater_than", 2), ("sva", 1), (None, 1)]
)
def test_a_swap_is_a_pass_for_every_set_and_every_draw_of_the_control(root, builder, sets):
    shape, (task, *_) = PYTHIA["160m"], config_of(root, "pythia").tasks
    task = task.model_copy(update={"builder": builder})
    work = cost.swapping(shape, [task], 3)
    assert work.passes == 1 + 4 * sets


def test_what_is_kept_needs_more_disk(root):
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


def test_the_report_names_what_does_not_fit(root):
    config = config_of(root, "pythia")
    text = report(config, GPUS["t4"], name="t4")
    assert ", pythia-2.8b, pythia-6.9b, pythia-12b." in text  # 2.8b: 11 GB of weights and 3 copied
    text = report(config, GPUS["v100"], name="v100")
    named = "pythia-2.8b (swap_components), pythia-6.9b, pythia-12b."
    assert f"Too large for this GPU: {named}" in text
    assert re.search(r"Together \d+\.\d GPU-hours", text)
    assert "Too large" not in report(config, GPUS["h200"], name="h200")


def test_the_report_on_a_small_run_is_in_mb_and_says_that_training_is_not_in_it(root):
    config = config_of(root, "smoke")
    text = report(config, GPUS["a100"], name="a100")
    weights = 3 * config_checkpoint_bytes()
    assert f"Downloads: none; on the disk at once at most {weights / 1e6:.0f} MB of" in text
    assert "Not counted: training on the CPU, one job per model." in text
    published = report(config_of(root, "pythia-quick"), GPUS["a100"], name="a100")
    assert "Downloads: 6 GB; " in published  # 12 x 0.23 x 2
    assert "training" not in published


def config_checkpoint_bytes() -> int:
    """Two layers 64 wide, 500 tokens: 12 d^2 + 13 d per layer, embeddings and last LayerNorm."""
    return 4 * (2 * (12 * 64**2 + 13 * 64) + 2 * 500 * 64 + 2 * 64)


def test_an_unknown_gpu_or_model_is_named_with_those_that_are_known(root):
    with pytest.raises(UnknownNameError, match="did you mean 'a100'"):
        gpu_called("a10")
    hub = {"repo": "allenai/OLMo-1B-hf", "tokens_per_step": 4_194_304}
    config = config_of(root, "pythia", models=[{"name": "olmo", "hub": hub}])
    with pytest.raises(UnknownNameError, match="EleutherAI/pythia-70m"):
        shape_of(config.models[0])
