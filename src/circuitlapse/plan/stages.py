"""What a configuration costs, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from circuitlapse.config.schema import Config
from circuitlapse.plan import cost
from circuitlapse.plan.cost import Shape, Work, shape_of
from circuitlapse.plan.hardware import Machine
from circuitlapse.settings import Model, Task

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Of one number, by its type."""
OF_A_JOB_MB, OF_SNAKEMAKE_MB = 1500, 350
"""Memory that a rule asks for beside the model and a forward pass, at the most."""
ON_A_GPU_MB, ON_A_CPU_MB = 3000, 500
"""Memory for a forward pass: what CUDA takes of the host; on a CPU unless `memory_mb` says more."""
LOADING = 3.0
"""Memory that loading a model takes, of the size of its files."""
OF_CUDA_GB = 1.5
"""Memory of a GPU for CUDA itself and for a pass of one prompt."""
LOADED = 1.3
"""Memory of a loaded model, of its weights: those of queries, keys and values are there twice."""
COPIES = 2.0
"""Memory of the runs of a task, of their size: batches put together, or halves of the prompts
and the outputs of attention."""


@dataclass(frozen=True)
class Stage:
    """What one rule costs for one model, if nothing of it is there yet.

    Attributes:
        rule: its name.
        model: name of the model.
        jobs: number of jobs.
        hours: of one GPU, all jobs together.
        ram_gb: memory of the host that one job asks for, when it is not a retry.
        gpu_gb: memory of the GPU that one job needs at least.
    """

    rule: str
    model: str
    jobs: int
    hours: float
    ram_gb: float
    gpu_gb: float


def stages(config: Config, machine: Machine) -> list[Stage]:
    """Return what every rule that runs models costs, model by model.

    Raises:
        UnknownNameError: if the size of a published model is not known.
    """
    return [stage for model in config.models for stage in _of_model(model, config, machine)]


class _Jobs(NamedTuple):
    """The jobs of one rule: how many, what each does, and what it holds at once."""

    rule: str
    number: int
    work: Work
    held: Sequence[Task] = ()
    """Tasks of which both runs lie on the GPU, one at a time."""
    models: int = 1


def _of_model(model: Model, config: Config, machine: Machine) -> Iterator[Stage]:
    shape, compute = shape_of(model), config.compute
    on_gpu = compute.device.startswith("cuda")
    forward_mb = ON_A_GPU_MB if on_gpu else compute.memory_mb or ON_A_CPU_MB
    ram_gb = (OF_A_JOB_MB + OF_SNAKEMAKE_MB + forward_mb) * 2**20 / 1e9
    for jobs in _jobs(model, shape, config):
        hours = jobs.number * machine.seconds(jobs.work, shape) / 3600
        weights = shape.parameters * BYTES[compute.dtype] / 1e9
        runs = max((runs_gb(shape, [task], compute.dtype) for task in jobs.held), default=0.0)
        yield Stage(
            jobs.rule,
            model.name,
            jobs.number,
            hours,
            ram_gb=ram_gb + LOADING * jobs.models * shape.stored_gb,
            gpu_gb=OF_CUDA_GB + LOADED * jobs.models * weights + COPIES * runs,
        )


def _jobs(model: Model, shape: Shape, config: Config) -> Iterator[_Jobs]:
    """Yield the jobs of every rule that runs this model."""
    n, tasks, read = len(model.steps), config.tasks, Work(disk_gb=shape.stored_gb)
    if not model.circuits:
        yield _Jobs("measure_behaviour", n, read + cost.caching(shape, tasks))
        return

    def read_with(held: Sequence[Task]) -> Work:
        return read + Work(disk_gb=runs_gb(shape, held, config.activations.dtype))

    ioi, greater_than = (
        [task for task in tasks if task.builder == name] for name in ("ioi", "greater_than")
    )
    yield _Jobs("cache_activations", n, read_with(tasks) + cost.caching(shape, tasks), tasks)
    work = read_with(tasks) + cost.discovery(shape, tasks, config)
    yield _Jobs("discover_circuit", n, work, tasks)
    yield _Jobs("score_heads", n, read_with(ioi) + cost.scoring(shape, tasks, config), ioi)
    work = read_with(greater_than) + cost.tracing(shape, tasks)
    yield _Jobs("trace_algorithm", n, work, greater_than)
    steps = len(config.transfer_steps(model.name))
    work = (read + cost.transfer(shape, tasks, steps)) * float(steps)
    yield _Jobs("transfer_circuits", 1, work, tasks)
    if pairs := config.swap_pairs(model.name):
        work = cost.swapping(shape, tasks, config.swaps.random_sets) * float(len(pairs))
        yield _Jobs("swap_components", 1, work + read * float(_loads(pairs)), models=2)


def _loads(pairs: Sequence[tuple[int, int]]) -> int:
    """Return how often swapping loads a model: every target once, a lender when it changes."""
    sources, targets = zip(*pairs, strict=True)
    return sum(1 for _ in groupby(sources)) + len(set(targets))


def download_gb(config: Config) -> float:
    """Return how much is fetched: every step of every published model."""
    fetched = (model for model in config.models if model.hub and model.hub.folder is None)
    return sum((shape_of(model).stored_gb * len(model.steps) for model in fetched), 0.0)


def checkpoints_gb(config: Config) -> float:
    """Return how much the checkpoints take that lie on the disk at once, at the most.

    Those of `checkpoints.at_once`, or all if they are kept or trained here, and those that wait
    for the exchange of circuits between steps.
    """
    sizes = [shape_of(model).stored_gb for model in config.models for _ in model.steps]
    if not config.checkpoints.keep and all(model.hub for model in config.models):
        waiting = [
            shape_of(model).stored_gb
            for model in config.models
            if model.circuits
            for _ in config.transfer_steps(model.name)
        ]
        sizes = [*waiting, *sorted(sizes)[-config.checkpoints.at_once :]]
    return sum(sizes, 0.0)


def activations_gb(config: Config) -> float:
    """Return the same of activations: as many steps as checkpoints, or all if they are kept."""
    sizes = sorted(
        runs_gb(shape_of(model), config.tasks, config.activations.dtype)
        for model in config.models
        if model.circuits
        for _ in model.steps
    )
    return sum(sizes if config.activations.keep else sizes[-config.checkpoints.at_once :], 0.0)


def runs_gb(shape: Shape, tasks: Sequence[Task], dtype: str) -> float:
    """Return how large both runs of every pair of prompts are; logits are in float32."""
    total = 0.0
    for task in tasks:
        prompts = cost.prompts_of(task)
        per_position = shape.d_model * (1 + 2 * shape.layers)
        patterns = shape.layers * shape.heads * prompts.tokens
        per_prompt = prompts.tokens * (per_position + patterns)
        total += 2 * prompts.count * (BYTES[dtype] * per_prompt + 4 * shape.vocabulary)
    return total / 1e9
