"""What is analysed: the models, their training steps, how they are trained, and the tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from circuitlapse.settings.base import (
    DEFAULT_SEED,
    FILE_NAME,
    MAX_NAME,
    PUBLISHED_BY,
    SEED,
    STEPS,
    TOKENS_PER_STEP,
    PathText,
    Problem,
    Schedule,
    Section,
    Steps,
    key,
    nearest,
    reruns,
)
from circuitlapse.tasks import base as tasks
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import MIN_PROMPTS, TASK_METRICS, Metric

if TYPE_CHECKING:  # a type checker cannot see what the registry holds
    TaskMetric = Metric
    Builder = str
    Corruption = str
else:
    TaskMetric = Literal[*TASK_METRICS]
    Builder = Literal[*BUILDERS]
    Corruption = Literal[*BUILDERS["ioi"].options["corruption"]]

_FINITE = ", ".join(name for name, builder in BUILDERS.items() if builder.finite)
TASK_OPTIONS = tuple(dict.fromkeys(name for one in BUILDERS.values() for name in one.options))
"""Keys of a task that belong to some builder only."""


def _builder_named(task: dict[str, Any]) -> str | None:
    return task["name"] if task["file"] is None and task["name"] in BUILDERS else None


def _default_option(builder: str | None, option: str) -> str | None:
    options = BUILDERS[builder].options if builder else {}
    return options[option][0] if option in options else None


class Task(Section, json_schema_extra=reruns("prompts")):
    """One task: pairs of a clean and a corrupted prompt, and the metric that scores them."""

    name: str = key(
        "Unique name in paths, tables and figures.",
        reruns="prompts of this task; activations and circuits of all",
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=MAX_NAME,
        allowed=f"at most {MAX_NAME} lower-case letters, digits and '_', starting with a letter",
        examples=["ioi"],
    )
    file: PathText | None = key(
        "File with your own prompts. Cannot be combined with builder.",
        None,
        pattern=r"\.(csv|jsonl)$",
        allowed="a path that ends in .csv or .jsonl",
    )
    builder: Builder | None = key(
        "Built-in task that makes the prompts. Cannot be combined with file.",
        _builder_named,
        otherwise="`name`; null with a file",
    )
    metric: TaskMetric = key(
        "Score of a prompt. Only for a task with a file: a builder has a fixed metric.",
        lambda task: BUILDERS[task["builder"]].metric if task["builder"] else None,
        examples=["logit_diff"],
        otherwise="that of the builder; required with a file",
    )
    n_prompts: int | None = key(
        f"Number of prompt pairs. null takes all: possible for {_FINITE} and for a file, while "
        "the other builders draw prompts at random.",
        lambda task: 100 if task["file"] is None else None,
        ge=MIN_PROMPTS,
        le=100_000,
        otherwise="100; null with a file",
    )
    seed: int = key(
        "Seed of the prompts of this task.",
        lambda: DEFAULT_SEED,
        otherwise="`seed` of the top level",
        **SEED,
    )
    prepend_bos: bool = key(
        "Start every prompt with a begin-of-text token. Pythia was trained without one.", False
    )
    corruption: Corruption | None = key(
        "For ioi: in a corrupted prompt, the second mention of the subject is replaced by the "
        "indirect object (s2_to_io, as in the paper) or by a third name (s2_to_random).",
        lambda task: _default_option(task["builder"], "corruption"),
        otherwise="s2_to_io for ioi, else null",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, keys: Any) -> Any:
        if not isinstance(keys, dict):
            return keys
        unset = {name for name in ("builder", *TASK_OPTIONS) if keys.get(name) is None}
        return {name: value for name, value in keys.items() if name not in unset}

    def problems(self) -> Iterator[Problem]:
        """Check that the prompts have one source, and each key a meaning for it."""
        given = self.model_fields_set
        if self.file is not None:
            if self.builder is not None:
                sentence = "cannot be combined with file: a task has one source of prompts; "
                yield Problem(("builder",), f"{sentence}remove one of them.")
            if "metric" not in given:
                yield Problem(("metric",))
        elif self.builder is None:
            known = ", ".join(BUILDERS)
            sentence = f"= '{self.name}' is not a built-in task ({known}), so the task needs a "
            yield Problem(("name",), f"{sentence}builder or a file{nearest(self.name, BUILDERS)}")
        else:
            yield from self._builder_problems(self.builder, BUILDERS[self.builder])
        for option in given.intersection(TASK_OPTIONS):
            owners = [name for name, one in BUILDERS.items() if option in one.options]
            if self.file is not None or self.builder not in (None, *owners):
                sentence = f"= '{getattr(self, option)}' is only for the builder "
                yield Problem((option,), f"{sentence}{' or '.join(owners)}.")

    def _builder_problems(self, name: str, builder: tasks.Builder) -> Iterator[Problem]:
        if "metric" in self.model_fields_set:
            sentence = f"is only for a task with a file; the builder {name} has the fixed metric "
            yield Problem(("metric",), f"{sentence}{builder.metric}.")
        if not builder.finite and self.n_prompts is None:
            sentence = f"= null takes all prompts, but the builder {name} draws them at random; "
            yield Problem(("n_prompts",), f"{sentence}give a number.")

    @property
    def options(self) -> dict[str, str]:
        """Keyword arguments that only this task's builder understands."""
        given = {name: getattr(self, name) for name in TASK_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}


class Train(Section, json_schema_extra=reruns("training")):
    """The shape of a model that the workflow trains itself (GPT-NeoX, like Pythia)."""

    layers: int = key("Number of layers.", ge=1, le=48, examples=[4])
    heads: int = key(
        "Attention heads per layer. d_model / heads must be even, because rotary embeddings "
        "rotate the dimensions of a head in pairs.",
        ge=1,
        le=64,
        examples=[4],
    )
    d_model: int = key(
        "Width of the residual stream.", ge=8, le=4096, multiple_of=8, examples=[128]
    )
    seed: int = key("Seed of the initial weights.", 1, **SEED)
    data_seed: int | None = key(
        "Seed of the order of the training sequences; null keeps the order of the text.",
        None,
        **SEED,
    )

    def problems(self) -> Iterator[Problem]:
        """Check that rotary embeddings can pair the dimensions of a head."""
        if self.d_model % (2 * self.heads):
            pairs = self.d_model // 2
            fitting = ", ".join(str(n) for n in range(1, pairs + 1) if pairs % n == 0)
            yield Problem(
                ("heads",),
                f"= {self.heads} does not fit d_model = {self.d_model}: d_model / heads must be "
                "even, because rotary embeddings rotate the dimensions of a head in pairs; "
                f"heads can be {fitting}.",
            )


class Hub(Section, json_schema_extra=reruns("fetching")):
    """A published model: each of its training steps is a revision of a repository."""

    repo: str = key(
        "Repository on the Hugging Face hub.",
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        allowed="OWNER/NAME, such as EleutherAI/pythia-70m",
        examples=["EleutherAI/pythia-70m"],
    )
    revision: str = key(
        "Revision of a step, with {step} in place of its number.",
        "step{step}",
        min_length=1,
        allowed="text, not empty",
    )
    folder: PathText | None = key(
        "Folder with the files of a step, with {step} in place of its number. It replaces the "
        "repository.",
        None,
        examples=["/data/pythia-70m/step{step}"],
    )
    tokens_per_step: int = key(
        "Tokens that the model saw in one training step.",
        lambda hub: TOKENS_PER_STEP if hub["repo"].startswith(PUBLISHED_BY) else None,
        reruns="activations",
        ge=1,
        le=10**9,
        examples=[4_194_304],
        otherwise=f"{TOKENS_PER_STEP} for EleutherAI/pythia; required for others",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that each step has a name of its own, and a known number of tokens."""
        for name in ("revision", "folder"):
            pattern = getattr(self, name)
            if pattern is not None and pattern.count("{step}") != 1:
                sentence = f"= '{pattern}' must contain {{step}} once, in place of its number."
                yield Problem((name,), sentence)
        if not self.tokens_per_step:
            yield Problem(("tokens_per_step",))

    def source(self, step: int) -> dict[str, str]:
        """Return where the files of a step are: a repo and its revision, or a folder."""
        if self.folder is not None:
            return {"folder": self.folder.replace("{step}", str(step))}
        return {"repo": self.repo, "revision": self.revision.replace("{step}", str(step))}


class Checkpoints(Section):
    """Downloaded checkpoints on disk."""

    keep: bool = key(
        "Keep them. If false, each is deleted as soon as no job needs it.",
        False,
        reruns="if true, fetching and the stages after it; if false, nothing",
    )
    at_once: int = key(
        "Largest number of checkpoints, of all models together, that are on disk at once. "
        "Checkpoints that wait for transfer.steps do not count.",
        4,
        reruns="nothing",
        ge=1,
        le=10_000,
    )


class Model(Section):
    """One model: a size or a seed, followed across its training steps."""

    name: str = key(
        "Unique name in paths and tables.",
        reruns="everything of this model",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    label: str = key(
        "Name in figures.",
        lambda model: model["name"],
        reruns="figures",
        min_length=1,
        allowed="text, not empty",
        otherwise="`name`",
    )
    variant_of: str | None = key(
        "Name of the model that this one repeats with other seeds. Variants appear only in "
        "figures about seeds.",
        None,
        reruns="figures",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    train: Train | None = key(
        "Shape of a model to train. Cannot be combined with hub.",
        None,
        examples=[{"layers": 4, "heads": 4, "d_model": 128}],
    )
    hub: Hub | None = key(
        "Source of a published model. Cannot be combined with train.",
        None,
        examples=[{"repo": "EleutherAI/pythia-70m"}],
    )
    schedule: Schedule | None = key(
        "Name of a list of steps to analyse in this model only; config/README.md lists them.",
        None,
        reruns="new steps; tables, figures",
    )
    circuits: bool = key(
        "Find circuits, score heads and trace algorithms. If false, only behaviour is measured.",
        True,
        reruns="circuits",
    )
    steps: Steps = key(
        "Training steps to analyse in this model only, instead of a schedule: in ascending order, "
        "each saved or published.",
        lambda: (),
        reruns="new steps; tables, figures",
        otherwise="`schedule`, or that of the top level",
        **STEPS,
    )

    def problems(self) -> Iterator[Problem]:
        """Check that the model has one source."""
        if self.train is None and self.hub is None:
            yield Problem(("train",))
        elif self.train is not None and self.hub is not None:
            sentence = "cannot be combined with train: a model is either trained here or published."
            yield Problem(("hub",), sentence)

    @property
    def variant(self) -> str:
        """What distinguishes models of one size: their seeds, or their repository."""
        if self.train is not None:
            order = self.train.data_seed
            return f"seed{self.train.seed}" + (f"-data{order}" if order is not None else "")
        return self.hub.repo.rpartition("/")[2] if self.hub is not None else ""


class Training(Section, json_schema_extra=reruns("training")):
    """How the suite is trained: every model on the same data in the same order (AdamW)."""

    save_steps: Steps = key(
        "Training steps whose weights are saved, in ascending order. Training stops at the last.",
        examples=[[0, 500, 1000]],
        **STEPS,
    )
    batch_size: int = key("Sequences per training step.", 32, ge=1, le=4096)
    sequence_length: int = key("Tokens per sequence.", 48, ge=32, le=256)
    learning_rate: float = key(
        "Peak learning rate for d_model 128. That of a model is inversely proportional to d_model.",
        1e-3,
        gt=0,
        le=1,
    )
    warmup_steps: int = key(
        "Steps over which the learning rate rises to its peak.", 100, ge=0, le=1_000_000
    )
    weight_decay: float = key("Weight decay.", 0.01, ge=0, le=1)
    threads: int = key("CPU threads per training job.", 1, ge=1, le=128)
    corpus_sentences: int = key(
        "Sentences in the generated text.", 200_000, reruns="corpus", ge=1000, le=100_000_000
    )
    corpus_seed: int = key("Seed of the generated text.", 1, reruns="corpus", **SEED)

    def problems(self) -> Iterator[Problem]:
        """Check that the learning rate reaches its peak before training ends."""
        last = self.save_steps[-1]
        if 0 < last <= self.warmup_steps:
            yield Problem(
                ("warmup_steps",),
                f"= {self.warmup_steps} must be smaller than {last}, the last of "
                "training.save_steps: the learning rate would not reach its peak.",
            )
