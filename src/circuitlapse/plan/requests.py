"""Memory and time that the jobs of the workflow request.

Snakemake reads this module for every job, so it imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SNAKEMAKE_MB = 350
"""Memory of Snakemake itself: a job on a cluster starts it twice, which takes 310 MB."""
CUDA_MB, FORWARD_MB = 3000, 500
"""Host memory for a forward pass: with CUDA, whose libraries take it; on a CPU by default."""
LOADING, VERIFYING = 3, 4
"""Memory for loading a model, in multiples of its files, which have half precision on a hub: in a
job that computes with it; and for TransformerLens too, one after the other, on the CPU."""


class Request(NamedTuple):
    """What a job that runs models requests at its first attempt.

    Attributes:
        memory_mb: memory of the host, besides models and a forward pass.
        minutes: time limit.
        models: number of models loaded at once.
    """

    memory_mb: int
    minutes: int
    models: int = 1


REQUESTS: Mapping[str, Request] = {
    "cache_activations": Request(1000, minutes=30),
    "measure_behaviour": Request(1000, minutes=30),
    "discover_circuit": Request(1300, minutes=120),
    "score_heads": Request(1000, minutes=60),
    "trace_algorithm": Request(1300, minutes=60),
    "transfer_circuits": Request(1300, minutes=240),
    "swap_components": Request(1500, minutes=240, models=2),
}
"""Every rule that runs models."""


def memory_mb(mb: int | float, attempt: int) -> int:
    """Return the memory of an attempt at a job that needs `mb` itself; retries get more."""
    return round(mb * attempt) + SNAKEMAKE_MB


def memory(mb: int) -> Callable[[object, int], int]:
    """Return what asks for `mb` of memory, and for more when the job is retried."""
    return lambda wildcards, attempt: memory_mb(mb, attempt)  # noqa: ARG005


def minutes(first: int) -> Callable[[object, int], int]:
    """Return what asks for so many minutes, and for more when the job is retried."""
    return lambda wildcards, attempt: first * attempt  # noqa: ARG005


def minutes_of(rule: str) -> Callable[[object, int], int]:
    """Return what asks for the time of a rule that runs models."""
    return minutes(REQUESTS[rule].minutes)


def loading_mb(folders: Iterable[str | Path], times: int = LOADING) -> int | float:
    """Return the memory for loading the largest of these models: `times` the size of its files.

    The size of a checkpoint that does not exist yet is unknown and counts as 0.
    """
    return times * max(map(_weights_mb, folders))


def _weights_mb(folder: str | Path) -> int | float:
    return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) / 2**20
