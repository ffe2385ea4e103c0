"""The top level of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, field_validator

from circuitlapse.config import cross_field
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.settings.analysis import (
    Activations,
    Algorithm,
    Bootstrap,
    Circuits,
    Compare,
    Compute,
    Figures,
    Heads,
    Stability,
    Swaps,
    Transfer,
)
from circuitlapse.settings.base import (
    DEFAULT_SEED,
    FILE_NAME,
    INVALID,
    LENIENT,
    SCHEDULES,
    KeyPath,
    Lenient,
    PathText,
    Problem,
    Schedule,
    Section,
    Seed,
    Steps,
    key,
    lenient,
    rule_error,
    section,
)
from circuitlapse.settings.suite import Checkpoints, Model, Task, Training

Entry = TypeVar("Entry", Model, Task)


def _without_braces(path: str) -> str:
    if "{" in path or "}" in path:
        raise rule_error(f"= '{path}' must be a path without braces.")
    return path


class Config(Section):
    """The whole configuration; `load_config` reads it and fills in every default."""

    results: Annotated[PathText, AfterValidator(_without_braces)] = key(
        "results", reruns="everything, in the new folder", allowed="a path without braces"
    )
    """Folder for all results. `~` and environment variables are expanded, here and in other paths;
    a relative path starts in the working directory."""
    suite: str = key("pocket", reruns="everything", **FILE_NAME)
    """Name of the family of models, which share one corpus and one tokenizer."""
    seed: Seed = key(DEFAULT_SEED, reruns="prompts")
    """Seed of the prompts, the bootstrap, the random tokens for head scores, and the random heads
    for swaps."""
    steps: Steps = key(reruns="new steps; tables, figures", examples=[[0, 500, 1000]])
    """Training steps to analyse in every model: in ascending order, each saved or published."""
    schedule: Schedule | None = key(None, reruns="new steps; tables, figures")
    """Name of a list of steps to analyse, instead of `steps`; config/README.md lists them."""
    models: tuple[Annotated[Model, Lenient], ...] = key(
        strict=False,
        min_length=1,
        examples=[[{"name": "tiny", "train": {"layers": 2, "heads": 2, "d_model": 32}}]],
    )
    """The models: sizes or seeds of one family."""
    checkpoints: Checkpoints = section(Checkpoints)
    training: Training = key(
        description=str(Training.__doc__),
        examples=[{"phases": [{"steps": 500}], "save_steps": [0, 250, 500]}],
    )
    tasks: tuple[Annotated[Task, Lenient], ...] = key(
        strict=False, min_length=1, examples=[[{"name": "ioi"}]]
    )
    """The tasks: the abilities of a model that are analysed, and the prompts that test them."""
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
    compare: Compare = section(Compare)

    @field_validator("*", mode="wrap")
    @classmethod
    def _lenient(cls, value: Any, handler: Callable[[Any], Any], info: Any) -> Any:
        return lenient(value, handler, info)

    @classmethod
    def of_valid_parts(cls, written: dict[Any, Any]) -> Config:
        """Return the configuration with `INVALID` for whatever is wrong in itself."""
        fields = cls.model_fields.items()
        known = {name for name, field in fields if name in written or field.is_required()}
        parts = {name: written.get(name) for name in known}
        return cls.model_validate(parts, context=LENIENT)

    def problems(self) -> Iterator[Problem]:
        """Yield the rules between sections that are broken, and paths that do not exist."""
        return cross_field.problems(self)

    @property
    def asks_a_hub(self) -> bool:
        """Whether anything is downloaded: a model, or a dataset."""
        fetched = any(model.hub and model.hub.folder is None for model in self.models)
        return fetched or self.heads.dataset is not None

    def filled_in(self) -> Config:
        """Return the configuration with the seed and the steps of the top level everywhere."""
        seed = {"seed": self.seed}
        tasks = [task.model_copy(update=_unset(task, seed)) for task in self.tasks]
        steps = [{"steps": self.analysed((), model)[1]} for model in self.models]
        models = [m.model_copy(update=s) for m, s in zip(self.models, steps, strict=True)]
        bootstrap = self.bootstrap.model_copy(update=_unset(self.bootstrap, seed))
        update = {"tasks": tuple(tasks), "models": tuple(models), "bootstrap": bootstrap}
        own = SCHEDULES[self.schedule] if self.schedule else self.steps
        return self.model_copy(update={**update, "steps": own})

    def analysed(self, where: KeyPath, model: Model) -> tuple[KeyPath, Any]:
        """Return the key that sets the steps of the model at `where`, and the steps."""
        if model.steps:
            return (*where, "steps"), model.steps
        if model.schedule:
            return (*where, "schedule"), SCHEDULES[model.schedule]
        if self.schedule:
            return ("schedule",), SCHEDULES.get(self.schedule, INVALID)
        return ("steps",), self.steps

    def tokens_at(self, model: str, step: int) -> int:
        """Return how many tokens a model has seen after a training step."""
        if (hub := self.model(model).hub) is not None:
            return step * hub.tokens_per_step
        return self.training.tokens_at(step)

    def model(self, name: str) -> Model:
        """Return the model called `name`; UnknownNameError if there is none."""
        return _find("model", name, self.models)

    def task(self, name: str) -> Task:
        """Return the task called `name`; UnknownNameError if there is none."""
        return _find("task", name, self.tasks)

    def transfer_steps(self, model: str) -> tuple[int, ...]:
        """Return the steps of a model that exchange their circuits.

        A step of `transfer.steps` that the audit has left out is none of them.
        """
        steps = self.model(model).steps
        if self.transfer.steps is None:
            return steps
        return tuple(step for step in self.transfer.steps if step in steps)

    def swap_pairs(self, model: str) -> tuple[tuple[int, int], ...]:
        """Return which step lends heads to which, as (source, target), in the order of targets."""
        pairs, steps = self.swaps.pairs, self.model(model).steps
        if pairs is None:
            exchanging = self.transfer_steps(model)
            return tuple((exchanging[-1], step) for step in exchanging[:-1])
        there = sorted((t, s) for s, t in pairs if {s, t} <= {*steps})
        return tuple((source, target) for target, source in there)

    def built_by(self, builder: str) -> str | None:
        """Return the name of the first task that `builder` makes, or None."""
        return next((task.name for task in self.tasks if task.builder == builder), None)


def _unset(section: Section, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of keys that a section does not set."""
    return {name: value for name, value in values.items() if name not in section.model_fields_set}


def _find(kind: str, name: str, entries: Iterable[Entry]) -> Entry:
    by_name = {entry.name: entry for entry in entries}
    if name not in by_name:
        raise UnknownNameError(unknown_name(kind, name, by_name))
    return by_name[name]
