"""What a configuration costs, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from circuitlapse.config.models import Model
from circuitlapse.config.schema import Config
from circuitlapse.plan import cost
from circuitlapse.plan.cost import Work
from circuitlapse.plan.machine import Machine
from circuitlapse.plan.shapes import Shape, shape_of

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Of one number, by its type."""
RAM_GB = 1.6
"""Memory of a job beside the model: Python, PyTorch, the graph, prompts and activations."""


@dataclass(frozen=True)
class Stage:
    """What one rule costs for one model, if nothing of it is there yet.

    Attributes:
        rule: its name.
        model: name of the model.
        jobs: number of jobs.
        hours: of one GPU, all jobs together.
        ram_gb: memory of the host that one job needs.
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


def _of_model(model: Model, config: Config, machine: Machine) -> Iterator[Stage]:
    shape = shape_of(model)
    for rule, jobs, work in _work(model, shape, config):
        seconds = jobs * machine.seconds(work, shape)
        weights = shape.parameters * BYTES[config.compute.dtype] / 1e9
        ram_gb = RAM_GB + weights + shape.stored_gb
        yield Stage(rule, model.name, jobs, seconds / 3600, ram_gb, 1.5 + 1.3 * weights)


def _work(model: Model, shape: Shape, config: Config) -> Iterator[tuple[str, int, Work]]:
    """Yield rule, number of jobs, and what each does."""
    steps, tasks = len(model.steps), config.tasks
    yield "cache_activations", steps, cost.caching(shape, tasks)
    if not model.circuits:
        return
    yield "discover_circuit", steps, cost.discovery(shape, tasks, config)
    yield "score_heads", steps, cost.scoring(shape, tasks, config)
    yield "trace_algorithm", steps, cost.tracing(shape, tasks)
    exchanged = len(config.transfer.steps or model.steps)
    work = cost.transfer(shape, tasks, exchanged) * float(exchanged)
    yield "transfer_circuits", 1, work


def download_gb(config: Config) -> float:
    """Return how much is fetched: every step of every published model."""
    return sum(
        shape_of(model).stored_gb * len(model.steps)
        for model in config.models
        if model.hub is not None and model.hub.folder is None
    )


def disk_gb(config: Config) -> float:
    """Return how much lies on the disk at the most, beside results: checkpoints and activations.

    Checkpoints are those of `checkpoints.at_once`, or all if they are kept or trained here, and
    those that wait for the exchange of circuits between steps.
    """
    sizes = [shape_of(model).stored_gb for model in config.models for _ in model.steps]
    if not config.checkpoints.keep and all(model.hub for model in config.models):
        waiting = [
            shape_of(model).stored_gb
            for model in config.models
            if model.circuits
            for _ in config.transfer.steps or model.steps
        ]
        sizes = [*waiting, *sorted(sizes)[-config.checkpoints.at_once :]]
    return sum(sizes) + config.checkpoints.at_once * activations_gb(config)


def activations_gb(config: Config) -> float:
    """Return how large the activations of one step are, of all tasks in the largest model."""
    return max(_activations_gb(shape_of(model), config) for model in config.models)


def _activations_gb(shape: Shape, config: Config) -> float:
    bytes_each = BYTES[config.activations.dtype]
    total = 0.0
    for task in config.tasks:
        prompts = cost.prompts_of(task)
        per_position = shape.d_model * (1 + 2 * shape.layers)
        patterns = shape.layers * shape.heads * prompts.tokens
        per_prompt = prompts.tokens * (per_position + patterns)
        total += 2 * prompts.count * (bytes_each * per_prompt + 4 * shape.vocabulary)
    return total / 1e9
