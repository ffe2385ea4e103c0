import re
from pathlib import Path

import pytest
import yaml

from circuitlapse.config import load_config
from circuitlapse.errors import UnknownNameError
from circuitlapse.plan.__main__ import report
from circuitlapse.plan.cost import Prompts, Work, forward
from circuitlapse.plan.gpus import GPUS, gpu_called
from circuitlapse.plan.machine import Machine
from circuitlapse.plan.shapes import PYTHIA, shape_of
from circuitlapse.plan.stages import disk_gb, download_gb, stages

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
    start = 10 + 70_426_624 * 2 / 1e9
    assert machine.seconds(Work(5e12, 1.0), shape) == pytest.approx(start + 5)
    assert machine.seconds(Work(0.0, 1000.0), shape) == pytest.approx(start + 1000 * 6 * 60 * 8e-6)


def test_every_rule_has_a_job_per_model_and_step(root):
    found = stages(config_of(root, "pythia"), Machine.of(gpu_called("h100")))
    jobs = {(stage.rule, stage.model): stage.jobs for stage in found}
    assert jobs["discover_circuit", "pythia-2.8b"] == 45
    assert jobs["cache_activations", "pythia-12b"] == 45
    assert ("discover_circuit", "pythia-12b") not in jobs
    assert all(stage.hours > 0 and stage.gpu_gb < stage.ram_gb + 80 for stage in found)


def test_downloads_are_two_bytes_per_weight_and_step(root):
    config = config_of(root, "pythia-quick")
    each = (PUBLISHED["70m"] + PUBLISHED["160m"]) * 2 / 1e9
    assert download_gb(config) == pytest.approx(12 * each)


def test_what_is_kept_needs_more_disk(root):
    kept = config_of(root, "pythia", checkpoints={"keep": True})
    assert disk_gb(kept) > 2 * disk_gb(config_of(root, "pythia"))


def test_the_report_names_what_does_not_fit(root):
    config = config_of(root, "pythia")
    text = report(config, GPUS["t4"], name="t4")
    assert "Too large for this GPU: pythia-12b, pythia-6.9b." in text
    assert re.search(r"Together \d+ GPU-hours", text)
    assert "Too large" not in report(config, GPUS["h200"], name="h200")


def test_an_unknown_gpu_or_model_is_named_with_those_that_are_known(root):
    with pytest.raises(UnknownNameError, match="did you mean 'a100'"):
        gpu_called("a10")
    hub = {"repo": "allenai/OLMo-1B-hf", "folder": "/data/step{step}"}
    config = config_of(root, "pythia", models=[{"name": "olmo", "hub": hub}])
    with pytest.raises(UnknownNameError, match="EleutherAI/pythia-70m"):
        shape_of(config.models[0])
