"""GPUs of a machine that has none: `nvidia-smi` and the driver are stand-ins."""

from __future__ import annotations

import os
import re

import pytest

from circuitlapse.errors import ConfigError
from circuitlapse.plan import gpus
from circuitlapse.plan.gpus import Card, host_mb, slots_on_this_machine, visible_cards
from circuitlapse.plan.slots import VISIBLE
from tests.unit.plan.conftest import config_of


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Replace the GPUs of this machine by those that `nvidia-smi` prints or the driver lists."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "driver")

    def made(*lines: str, driver: int = 0, visible: str | None = None) -> None:
        if lines:
            (tmp_path / "bin").mkdir(exist_ok=True)
            program = tmp_path / "bin/nvidia-smi"
            program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
            program.chmod(0o755)
        for number in range(driver):
            (tmp_path / f"driver/0000:0{number}:00.0").mkdir(parents=True)
        if visible is not None:
            monkeypatch.setenv(VISIBLE, visible)

    return made


TWO = ("GPU-aa, 81559, Default", "GPU-bb, 40960, Default")
A, B = Card("GPU-aa", 81559), Card("GPU-bb", 40960)


def test_gpus_are_those_that_nvidia_smi_lists_or_else_those_of_the_driver(machine):
    assert visible_cards() == []
    machine(driver=2)
    assert visible_cards() == [Card("0"), Card("1")]
    machine(*TWO)
    assert visible_cards() == [A, B]


def test_what_nvidia_smi_does_not_know_is_unknown(machine):
    machine("GPU-aa, [N/A], Default", "GPU-bb, 81559, Exclusive_Process")
    assert visible_cards() == [Card("GPU-aa"), Card("GPU-bb", 81559, exclusive=True)]


def test_nvidia_smi_that_fails_is_no_error(machine):
    machine("'; exit 9; '", driver=1)
    assert visible_cards() == [Card("0")]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("", []),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("GPU-b", ["GPU-b"]),
        ("-1,0", []),
        ("1,7,0", ["1"]),
        ("GPU-aa,GPU-cc,1", ["GPU-aa"]),
        ("MIG-1234", ["MIG-1234"]),
        ("NoDevFiles", []),
    ],
)
def test_a_process_sees_what_cuda_makes_of_the_variable(machine, visible, names):
    machine(*TWO, visible=visible)
    assert [card.name for card in visible_cards()] == names


def test_the_memory_of_a_visible_gpu_is_known(machine):
    machine(*TWO, visible="1,GPU-a,MIG-1234")
    assert [card.memory_mib for card in visible_cards()] == [B.memory_mib, A.memory_mib, None]


def test_without_nvidia_smi_the_variable_is_believed(machine):
    machine(visible="0,5")
    assert visible_cards() == [Card("0"), Card("5")]


def slots(root, name="smoke", **compute):
    return slots_on_this_machine(config_of(root, name, compute={"device": "cuda", **compute}))


def test_a_run_has_slots_on_all_gpus_or_on_those_that_it_names(machine, root, monkeypatch):
    monkeypatch.chdir(root)
    machine(*TWO)
    found = slots(root, jobs_per_gpu=3)
    assert (found.gpus, found.jobs_per_gpu) == (("GPU-aa", "GPU-bb"), 3)
    assert found.folder == str(root / "results-smoke/.slots")
    assert slots(root, gpus=[1]).gpus == ("GPU-bb",)
    machine(visible="1")
    assert slots(root, gpus=[0]).gpus == ("1",)


@pytest.mark.parametrize(
    ("visible", "compute", "message"),
    [
        (None, {"gpus": [0, 2]}, "compute.gpus = [0, 2], but this machine has GPUs 0 to 1"),
        ("1", {"gpus": [1]}, "compute.gpus = [1], but this machine has one GPU, number 0 "
         "(CUDA_VISIBLE_DEVICES is '1')"),
        ("", {}, "compute.device is cuda, but no NVIDIA GPU is found on this machine "
         "(CUDA_VISIBLE_DEVICES is ''); set compute.device to cpu, or run where there is a GPU"),
    ],
)  # fmt: skip
def test_a_gpu_that_is_not_there_is_named(machine, root, visible, compute, message):
    machine(*TWO, visible=visible)
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        slots(root, **compute)


def test_auto_is_for_the_smallest_of_the_gpus(machine, root):
    huge = "GPU-bb, 999999, Default"
    for mib, jobs in ((40_960, 1), (81_559, 1), (163_118, 2), (600_000, 4)):
        machine(huge, f"GPU-aa, {mib}, Default")
        assert slots(root, "pythia").jobs_per_gpu == jobs


def test_auto_is_one_where_it_cannot_be_known_or_a_gpu_is_not_shared(machine, root):
    machine(*TWO)
    assert slots(root).jobs_per_gpu == 4
    machine("GPU-aa, [N/A], Default", TWO[0])
    assert slots(root).jobs_per_gpu == 1
    machine("GPU-aa, 81559, Exclusive_Process", TWO[0])
    assert slots(root).jobs_per_gpu == 1
    machine(*TWO)
    other = {"repo": "someone/else", "tokens_per_step": 1}
    models = [{"name": "other", "hub": other}]
    assert slots_of_models(root, models).jobs_per_gpu == 1


def slots_of_models(root, models):
    changes = {"models": models, "compute": {"device": "cuda"}}
    return slots_on_this_machine(config_of(root, "pythia-quick", **changes))


@pytest.mark.parametrize(
    ("limit", "share"), [(None, 1), ("max", 1), (str(2**40), 1), ("2097152", 0)]
)
def test_the_memory_of_a_container_is_what_it_may_use(tmp_path, monkeypatch, limit, share):
    monkeypatch.setattr(gpus, "CONTAINER", tmp_path / "memory.max")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert host_mb() == (2 if limit == str(2 * 2**20) else whole)
