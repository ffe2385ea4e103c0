"""The top level of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.settings import (
    DEFAULT_SEED,
    FILE_NAME,
    SEED,
    STEPS,
    Activations,
    Algorithm,
    Bootstrap,
    Checkpoints,
    Circuits,
    Compute,
    Figures,
    Heads,
    Model,
    Schedule,
    Section,
    Stability,
    Steps,
    Swaps,
    Task,
    Training,
    Transfer,
    key,
    section,
)

Entry = TypeVar("Entry", Model, Task)


class Config(Section):
    """The whole configuration; `load_config` makes it, with every default filled in."""

    results: str = key(
        "Folder for everything that is made.",
        "results",
        reruns="everything, in the new folder",
        pattern=r"^[^{}]*[^{}/]$",
        allowed="a path without braces and without '/' at its end",
    )
    suite: str = key(
        "Name of the family of models that share one corpus and one tokenizer.",
        "pocket",
        reruns="everything",
        **FILE_NAME,
    )
    seed: int = key(
        "Seed of prompts, of the bootstrap, of the random tokens that heads are scored on, and of "
        "heads that are swapped at random.",
        DEFAULT_SEED,
        reruns="prompts",
        **SEED,
    )
    steps: Steps = key(
        "Training steps to analyse in every model; ascending, each saved or published.",
        reruns="new steps; tables, figures",
        examples=[[0, 500, 1000]],
        **STEPS,
    )
    schedule: Schedule | None = key(
        "Name of a list of steps, in place of `steps`; see below for the lists.",
        None,
        reruns="new steps; tables, figures",
    )
    models: tuple[Model, ...] = key(
        "The models: sizes or seeds of one family.",
        strict=False,
        min_length=1,
        examples=[[{"name": "tiny", "train": {"layers": 2, "heads": 2, "d_model": 32}}]],
    )
    checkpoints: Checkpoints = section(Checkpoints)
    training: Training = key(str(Training.__doc__), examples=[{"save_steps": [0, 500, 1000]}])
    tasks: tuple[Task, ...] = key(
        "The tasks: what a model has to be able to do, and on which prompts.",
        strict=False,
        min_length=1,
        examples=[[{"name": "ioi"}]],
    )
    activations: Activations = section(Activations)
    circuits: Circuits = section(Circuits)
    heads: Heads = section(Heads)
    algorithm: Algorithm = section(Algorithm)
    stability: Stability = section(Stability)
    transfer: Transfer = section(Transfer)
    swaps: Swaps = section(Swaps)
    bootstrap: Bootstrap = section(Bootstrap)
    compute: Compute = section(Compute)
    figures: Figures = section(Figures)

    def tokens_per_step(self, model: str) -> int:
        """Return how many tokens a model saw in one training step."""
        if (hub := self.model(model).hub) is not None:
            return hub.tokens_per_step
        return self.training.batch_size * self.training.sequence_length

    def model(self, name: str) -> Model:
        """Return the model called `name`; UnknownNameError if there is none."""
        return _find("model", name, self.models)

    def task(self, name: str) -> Task:
        """Return the task called `name`; UnknownNameError if there is none."""
        return _find("task", name, self.tasks)

    def transfer_steps(self, model: str) -> tuple[int, ...]:
        """Return the steps of a model that exchange their circuits."""
        return self.transfer.steps or self.model(model).steps

    def swap_pairs(self, model: str) -> tuple[tuple[int, int], ...]:
        """Return which step lends heads to which, as (source, target), in the order of targets."""
        *earlier, last = self.transfer_steps(model)
        pairs = self.swaps.pairs
        if pairs is None:
            return tuple((last, step) for step in earlier)
        return tuple((source, target) for target, source in sorted((t, s) for s, t in pairs))

    def built_by(self, builder: str) -> str | None:
        """Return the name of the first task that `builder` makes, or None."""
        return next((task.name for task in self.tasks if task.builder == builder), None)


def _find(kind: str, name: str, entries: Iterable[Entry]) -> Entry:
    by_name = {entry.name: entry for entry in entries}
    if name not in by_name:
        raise UnknownNameError(unknown_name(kind, name, by_name))
    return by_name[name]
