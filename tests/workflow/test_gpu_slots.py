"""GPUs of this machine in a run; it has none, so `nvidia-smi` is a stand-in that lists two."""

from __future__ import annotations

import os

import pytest

from circuitlapse.plan.gpus import host_mb

BEHAVIOUR = "results-smoke/behaviour/pocket-tiny/ioi/step0.parquet"
CUDA = ("--config", "compute={device: cuda, memory_mb: 500, jobs_per_gpu: 2}")


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    lines = "".join(f"echo GPU-{name}, 81559, Default\n" for name in "ab")
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_a_gpu_a_run_stops_before_its_first_job(workflow):
    output = workflow.run(*CUDA, ok=False)
    assert "compute.device is cuda, but no NVIDIA GPU is found on this machine" in output
    assert "set compute.device to cpu" in output
    assert "Traceback" not in output
    assert not (workflow.folder / "results-smoke").exists()


def test_without_cuda_in_torch_a_run_stops_before_its_first_job(workflow, two_gpus):
    output = workflow.run(*CUDA, ok=False)
    assert "compute.device is cuda, but PyTorch cannot use a GPU here: PyTorch " in output
    assert "Traceback" not in output
    assert not (workflow.folder / "results-smoke").exists()


def test_what_needs_no_gpu_runs_without_one(copied):
    figure = copied.folder / "results-smoke/figures/behaviour.png"
    figure.unlink()
    only_missing = ("--rerun-triggers", "mtime")
    copied.run("results-smoke/figures/behaviour.png", *only_missing, *CUDA)
    assert figure.exists()


@pytest.mark.parametrize(("given", "gpu"), [((), 4), (("--resources", "gpu=3"), 3)])
def test_jobs_share_the_gpus_of_this_machine_also_without_make(
    copied, two_gpus, willing_torch, given, gpu
):
    output = copied.run(BEHAVIOUR, *CUDA, *given, ok=False)
    assert f'Resource("gpu", {gpu})' in output
    assert f'Resource("mem_mb", {host_mb()})' in output
    log = copied.folder / "results-smoke/logs/cache_activations/pocket-tiny/step0.log"
    assert "on GPU GPU-a, jobs that share it: 2" in log.read_text()
    assert "compute.device is cuda, but PyTorch finds no CUDA GPU" in log.read_text()
    assert sorted(file.name for file in (copied.folder / "results-smoke/.slots").iterdir())


def test_how_jobs_share_gpus_makes_nothing_run_again(finished):
    assert finished.jobs("--config", "compute={gpus: [0], jobs_per_gpu: 2}") == {}
