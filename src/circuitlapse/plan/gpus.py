"""The GPUs and the memory of this machine, and how many jobs share them, without torch."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from circuitlapse.config.schema import Config
from circuitlapse.errors import ConfigError, UnknownNameError
from circuitlapse.paths import Paths
from circuitlapse.plan.slots import VISIBLE, Slots
from circuitlapse.plan.stages import jobs_per_gpu

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Has a folder per GPU, also where `nvidia-smi` is missing."""
CONTAINER = Path("/sys/fs/cgroup/memory.max")
"""Has the most bytes that a container may use, or "max"."""
QUERY = (
    "nvidia-smi",
    "--query-gpu=uuid,memory.total,compute_mode",
    "--format=csv,noheader,nounits",
)
QUERY_S = 60
PROBE_S = 300  # importing PyTorch from a network file system
PROBE_OK = "ready"
PROBE = f"""
import torch
try:
    torch.zeros(1, device="cuda")
    print({PROBE_OK!r})
except (RuntimeError, AssertionError) as error:
    print(f"PyTorch {{torch.__version__}}: {{str(error).splitlines()[0]}}")
"""
MIB_GB = 2**20 / 1e9


@dataclass(frozen=True)
class Card:
    """A GPU of this machine.

    Attributes:
        name: as in CUDA_VISIBLE_DEVICES: a UUID or a number.
        memory_mib: of the whole card; None if unknown.
        exclusive: whether it refuses a second process.
    """

    name: str
    memory_mib: int | None = None
    exclusive: bool = False


def slots_on_this_machine(config: Config) -> Slots:
    """Return the slots for jobs of this configuration, whose `compute.device` is cuda.

    Raises:
        ConfigError: if this machine has no GPU, or not those in `compute.gpus`.
    """
    cards = list(_chosen(config, visible_cards()))
    folder = Path(Paths(config.results).slots).absolute()
    return Slots(str(folder), tuple(card.name for card in cards), _jobs_per_gpu(config, cards))


def slots_or_reason(config: Config) -> tuple[Slots | None, str]:
    """Return `slots_on_this_machine`, or a sentence that says why there are none."""
    try:
        return slots_on_this_machine(config), ""
    except ConfigError as error:
        return None, str(error)


def torch_problem() -> str:
    """Return why PyTorch cannot use a GPU here, or ""; a process of its own looks.

    If that takes too long, on a slow disk for example, nothing is known and jobs will tell.
    """
    command = (*shlex.split(sys.executable), "-c", PROBE)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_S, check=False)
        said = (done.stdout or done.stderr).strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        return ""
    except OSError as error:
        said = str(error)
    if said == PROBE_OK:
        return ""
    return (
        f"compute.device is cuda, but PyTorch cannot use a GPU here: {said}; set compute.device to "
        "cpu, or install a PyTorch for the driver of this machine"
    )


def visible_cards() -> list[Card]:
    """Return the GPUs that a program started now would see, in the order of its numbers for them.

    As in CUDA, the names in CUDA_VISIBLE_DEVICES count up to the first that is wrong.
    """
    cards = _listed()
    if (named := os.environ.get(VISIBLE)) is None:
        return cards
    found = []
    for name in (part.strip() for part in named.split(",")):
        if not re.fullmatch("[0-9]+|(GPU|MIG)-.+", name):
            break
        if name.isdigit():
            same = cards[int(name) : int(name) + 1]
        else:  # a UUID may be abbreviated
            same = [card for card in cards if card.name.startswith(name)]
        if cards and not same and not name.startswith("MIG"):
            break
        found.append(replace(same[0], name=name) if same else Card(name))
    return found


def _listed() -> list[Card]:
    """Return all GPUs, by UUID where `nvidia-smi` knows it."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=QUERY_S)
    except (OSError, subprocess.SubprocessError):
        return [Card(str(at)) for at, _ in enumerate(DRIVER.glob("*"))]
    rows = (line.split(",") for line in done.stdout.splitlines())
    return [_card(*row) for row in rows if len(row) == len(QUERY[1].split(","))]


def _card(*row: str) -> Card:
    """Read a row of `nvidia-smi`; memory is in MiB, or "[N/A]"."""
    uuid, memory, mode = (part.strip() for part in row)
    mib = int(memory) if memory.isdigit() else None
    return Card(uuid, mib, exclusive=mode.startswith("Exclusive"))


def _chosen(config: Config, cards: Sequence[Card]) -> Iterator[Card]:
    said = f" ({VISIBLE} is '{os.environ[VISIBLE]}')" if VISIBLE in os.environ else ""
    if not cards:
        raise ConfigError(
            f"compute.device is cuda, but no NVIDIA GPU is found on this machine{said}; "
            "set compute.device to cpu, or run where there is a GPU"
        )
    numbers = range(len(cards)) if config.compute.gpus == "all" else config.compute.gpus
    for number in numbers:
        if number >= len(cards):
            found = "one GPU, number 0" if len(cards) == 1 else f"GPUs 0 to {len(cards) - 1}"
            raise ConfigError(f"compute.gpus = {list(numbers)}, but this machine has {found}{said}")
        yield cards[number]


def _jobs_per_gpu(config: Config, cards: Sequence[Card]) -> int:
    """Return how many jobs share a GPU: for `auto`, as many as fit with the largest model.

    Where the memory of a GPU or the size of a model is unknown, that is one.
    """
    if config.compute.jobs_per_gpu != "auto":
        return config.compute.jobs_per_gpu
    sizes = [card.memory_mib for card in cards if card.memory_mib and not card.exclusive]
    if len(sizes) < len(cards):
        return 1
    try:
        return jobs_per_gpu(config, min(sizes) * MIB_GB)
    except UnknownNameError:
        return 1


def host_mb() -> int:
    """Return the memory of this machine, or of the container that this process runs in, in MiB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CONTAINER.read_text().strip() if CONTAINER.is_file() else ""
    return (min(pages, int(limit)) if limit.isdigit() else pages) // 2**20
