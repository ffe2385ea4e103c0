"""The cost of a configuration, rule by rule: time, memory and disk space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from circuitlapse.config.schema import Config
from circuitlapse.plan import cost
from circuitlapse.plan.cost import Shape, Work, shape_of
from circuitlapse.plan.hardware import USABLE, Machine
from circuitlapse.plan.requests import LOADING, REQUESTS, memory_mb
from circuitlapse.plan.workflow import Plan
from circuitlapse.settings.suite import Model, Task

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Bytes of a number, by type."""
CUDA_GB = 1.5
"""GPU memory of CUDA itself and of a pass of one prompt."""
LOADED = 1.1
"""GPU memory of a loaded model, relative to its weights: one weight at a time is held twice."""
COPIES = 2.0
"""GPU memory of the activations of a task, relative to their size: batches are concatenated, or
split halves and attention outputs are added."""

MOST_JOBS = 4
"""Most jobs that `compute.jobs_per_gpu: auto` puts on one GPU."""


@dataclass(frozen=True)
class Stage:
    """The cost of a rule for a model, if none of its jobs is finished.

    Attributes:
        rule: name of the rule.
        model: name of the model.
        jobs: number of jobs.
        hours: GPU hours of all jobs together.
        ram_gb: memory of the host that a job requests at its first attempt.
        gpu_gb: least GPU memory that a job needs.
    """

    rule: str
    model: str
    jobs: int
    hours: float
    ram_gb: float
    gpu_gb: float


def stages(config: Config, machine: Machine) -> list[Stage]:
    """Return the cost of every rule that runs models, model by model.

    Raises:
        UnknownNameError: if a published model is not one of Pythia.
    """
    return [stage for model in config.models for stage in _of_model(model, config, machine)]


def jobs_per_gpu(config: Config, memory_gb: float) -> int:
    """Return how many jobs a GPU takes at once, so that the largest job fits into its share.

    That is at least one and at most four; with more, starting them is no longer what takes time.

    Raises:
        UnknownNameError: if a published model is not one of Pythia.
    """
    shapes = [(model, shape_of(model)) for model in config.models]
    needed = max(
        _gpu_gb(jobs, shape, config)
        for model, shape in shapes
        for jobs in _jobs(model, shape, config)
    )
    return max(1, min(MOST_JOBS, int(USABLE * memory_gb / needed)))


class _RuleJobs(NamedTuple):
    """The jobs of a rule for a model.

    Attributes:
        rule: name of the rule.
        number: number of jobs of each kind.
        works: the work of a job of each kind: of one kind, or of one per task.
        held: tasks whose activations are on the GPU, one at a time.
    """

    rule: str
    number: int
    works: Sequence[Work]
    held: Sequence[Task] = ()


def _of_model(model: Model, config: Config, machine: Machine) -> Iterator[Stage]:
    shape = shape_of(model)
    forward_mb = Plan(config).forward_mb
    for jobs in _jobs(model, shape, config):
        request = REQUESTS[jobs.rule]
        ram_gb = memory_mb(request.memory_mb + forward_mb, attempt=1) * 2**20 / 1e9
        hours = jobs.number * sum(machine.seconds(work, shape) for work in jobs.works) / 3600
        yield Stage(
            jobs.rule,
            model.name,
            jobs.number * len(jobs.works),
            hours,
            ram_gb=ram_gb + LOADING * request.models * shape.stored_gb,
            gpu_gb=_gpu_gb(jobs, shape, config),
        )


def _gpu_gb(jobs: _RuleJobs, shape: Shape, config: Config) -> float:
    dtype = config.compute.dtype
    weights = REQUESTS[jobs.rule].models * shape.parameters * BYTES[dtype] / 1e9
    runs = max((cached_gb(shape, [task], dtype) for task in jobs.held), default=0.0)
    return CUDA_GB + LOADED * weights + COPIES * runs


def _jobs(model: Model, shape: Shape, config: Config) -> Iterator[_RuleJobs]:
    """Yield the jobs of every rule that runs this model."""
    n, tasks, read = len(model.steps), config.tasks, Work(disk_gb=shape.stored_gb)
    per_job = [[task] for task in tasks] if Plan(config).one_task else [tasks]
    if not model.circuits:
        works = [read + cost.caching(shape, some) for some in per_job]
        yield _RuleJobs("measure_behaviour", n, works)
        return

    def read_with(held: Sequence[Task]) -> Work:
        return read + Work(disk_gb=cached_gb(shape, held, config.activations.dtype))

    ioi, greater_than = (
        [task for task in tasks if task.builder == name] for name in ("ioi", "greater_than")
    )
    works = [read_with(some) + cost.caching(shape, some) for some in per_job]
    yield _RuleJobs("cache_activations", n, works, tasks)
    works = [read_with(some) + cost.discovery(shape, some, config.circuits) for some in per_job]
    yield _RuleJobs("discover_circuit", n, works, tasks)
    work = read_with(ioi) + cost.scoring(shape, tasks, config.heads)
    yield _RuleJobs("score_heads", n, [work], ioi)
    work = read_with(greater_than) + cost.tracing(shape, tasks)
    yield _RuleJobs("trace_algorithm", n, [work], greater_than)
    steps = len(config.transfer_steps(model.name))
    work = (read + cost.transfer(shape, tasks, steps, config.transfer.random_circuits)) * float(
        steps
    )
    yield _RuleJobs("transfer_circuits", 1, [work], tasks)
    if pairs := config.swap_pairs(model.name):
        work = cost.swapping(shape, tasks, config.swaps.random_sets) * float(len(pairs))
        yield _RuleJobs("swap_components", 1, [work + read * float(_loads(pairs))])


def _loads(pairs: Sequence[tuple[int, int]]) -> int:
    """Return how many models swapping loads: every target once, a source when it changes."""
    sources, targets = zip(*pairs, strict=True)
    return sum(1 for _ in groupby(sources)) + len(set(targets))


def download_gb(config: Config) -> float:
    """Return the size of all downloads: every step of every published model."""
    fetched = (model for model in config.models if model.hub and model.hub.folder is None)
    return sum((shape_of(model).stored_gb * len(model.steps) for model in fetched), 0.0)


def checkpoints_gb(config: Config) -> float:
    """Return the most disk space that checkpoints take at once.

    - If they are kept or trained here: all of them.
    - Else `checkpoints.at_once` of them, and those that wait for the transfer of circuits.
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
    """Return the most disk space of activations: of `at_once` steps, or of all if they are kept."""
    sizes = sorted(
        cached_gb(shape_of(model), config.tasks, config.activations.dtype)
        for model in config.models
        if model.circuits
        for _ in model.steps
    )
    return sum(sizes if config.activations.keep else sizes[-config.checkpoints.at_once :], 0.0)


def cached_gb(shape: Shape, tasks: Sequence[Task], dtype: str) -> float:
    """Return the size of the activations of both runs of tasks; logits are in float32."""
    total = 0.0
    for task in tasks:
        prompts = cost.prompts_of(task)
        per_position = shape.d_model * (1 + 2 * shape.layers)
        patterns = shape.layers * shape.heads * prompts.tokens
        per_prompt = prompts.tokens * (per_position + patterns)
        total += 2 * prompts.count * (BYTES[dtype] * per_prompt + 4 * shape.vocabulary)
    return total / 1e9
