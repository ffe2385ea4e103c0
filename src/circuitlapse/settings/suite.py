"""What is analysed: the models, their training steps, how they are trained, and the tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import model_validator

from circuitlapse.settings.base import (
    DEFAULT_SEED,
    FILE_NAME,
    MAX_NAME,
    PYTHIA_PREFIX,
    STEP,
    TOKENS_PER_STEP,
    Lenient,
    PathText,
    PlainText,
    Problem,
    Schedule,
    Section,
    Seed,
    Step,
    Steps,
    key,
    named,
    nearest,
    reruns,
)
from circuitlapse.tasks import base as tasks
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.tasks.rows import READERS
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
        reruns="prompts of this task; activations and circuits of all tasks in its jobs",
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=MAX_NAME,
        allowed=f"at most {MAX_NAME} lower-case letters, digits and '_', starting with a letter",
        examples=["ioi"],
    )
    """Unique name in paths, tables and figures."""
    file: PathText | None = key(
        None,
        pattern=rf"({'|'.join(map(re.escape, READERS))})$",
        allowed=f"a path that ends in {', '.join([*READERS][:-1])} or {[*READERS][-1]}",
    )
    """File with prompts: your own, or that of EAP-IG, auto-circuit or MIB. Cannot be combined with
    builder."""
    builder: Builder | None = key(_builder_named, otherwise="`name`; null with a file")
    """Built-in task that makes the prompts. Cannot be combined with file."""
    metric: TaskMetric = key(
        lambda task: BUILDERS[task["builder"]].metric if task["builder"] else None,
        examples=["logit_diff"],
        otherwise="that of the builder; required with a file",
    )
    """Score of a prompt. Only for a task with a file: a builder has a fixed metric."""
    n_prompts: int | None = key(
        lambda task: 100 if task["file"] is None else None,
        description=f"Number of prompt pairs. null takes all: possible for {_FINITE} and for a "
        "file, while the other builders draw prompts at random.",
        ge=MIN_PROMPTS,
        le=100_000,
        otherwise="100; null with a file",
    )
    seed: Seed = key(lambda: DEFAULT_SEED, otherwise="`seed` of the top level")
    """Seed of the prompts of this task."""
    prepend_bos: bool = False
    """Start every prompt with a begin-of-text token. Pythia was trained without one."""
    corruption: Corruption | None = key(
        lambda task: _default_option(task["builder"], "corruption"),
        otherwise="s2_to_io for ioi, else null",
    )
    """For ioi: in a corrupted prompt, the second mention of the subject is replaced by the indirect
    object (s2_to_io, as in the paper) or by a third name (s2_to_random)."""

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

    layers: int = key(ge=1, le=48, examples=[4])
    """Number of layers."""
    heads: int = key(ge=1, le=64, examples=[4])
    """Attention heads per layer. d_model / heads must be a multiple of 8, because rotary embeddings
    rotate a quarter of the dimensions of a head, in pairs."""
    d_model: int = key(ge=8, le=4096, multiple_of=8, examples=[128])
    """Width of the residual stream."""
    seed: Seed = 1
    """Seed of the initial weights."""
    data_seed: Seed = 1
    """Seed of the draws of training sequences from the corpus."""

    def problems(self) -> Iterator[Problem]:
        """Check that rotary embeddings can pair the dimensions of a head."""
        if self.d_model % (8 * self.heads):
            most = self.d_model // 8
            fitting = ", ".join(str(n) for n in range(1, most + 1) if most % n == 0)
            yield Problem(
                ("heads",),
                f"= {self.heads} does not fit d_model = {self.d_model}: d_model / heads must be "
                "a multiple of 8, because rotary embeddings rotate a quarter of the dimensions of "
                f"a head, in pairs; heads can be {fitting}.",
            )


class Hub(Section, json_schema_extra=reruns("fetching")):
    """A published model: each of its training steps is a revision of a repository."""

    repo: str = key(
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        allowed="OWNER/NAME, such as EleutherAI/pythia-70m",
        examples=["EleutherAI/pythia-70m"],
    )
    """Repository on the Hugging Face hub."""
    revision: PlainText = key("step{step}", min_length=1, allowed="text, not empty")
    """Revision of a step, with {step} in place of its number, or {step:03} for one of three digits.
    {tokens} stands for any number: the hub is asked which revision fits, as in
    stage1-step{step}-tokens{tokens}B."""
    revisions: dict[Step, PlainText] | None = key(
        None, allowed="a mapping of steps to names", examples=[{1000: "iter-1000"}], strict=False
    )
    """Revision of every step, where their names follow no pattern. It replaces revision."""
    folder: PathText | None = key(None, examples=["/data/pythia-70m/step{step}"])
    """Folder with the files of a step, with {step} in place of its number. It replaces the
    repository."""
    tokens_per_step: int = key(
        lambda hub: TOKENS_PER_STEP if hub["repo"].startswith(PYTHIA_PREFIX) else None,
        reruns="activations",
        ge=1,
        le=10**10,
        examples=[4_194_304],
        otherwise=f"{TOKENS_PER_STEP} for EleutherAI/pythia; required for others",
    )
    """Tokens that the model saw in one training step."""

    def problems(self) -> Iterator[Problem]:
        """Check that each step has a name of its own, and a known number of tokens."""
        for name in ("revision", "folder"):
            pattern = getattr(self, name)
            listed = name == "revision" and self.revisions is not None
            if pattern is not None and not listed and len(STEP.findall(pattern)) != 1:
                sentence = f"= '{pattern}' must contain {{step}} once, in place of its number."
                yield Problem((name,), sentence)
        steps, names = set(self.revisions or ()), set((self.revisions or {}).values())
        if self.revisions is not None and (not steps or len(names) < len(steps)):
            sentence = f"= {self.revisions} must list a revision of its own for every step."
            yield Problem(("revisions",), sentence)
        if not self.tokens_per_step:
            yield Problem(("tokens_per_step",))

    def source(self, step: int) -> dict[str, str]:
        """Return where the files of a step are: a repo and its revision, or a folder."""
        if self.folder is not None:
            return {"folder": named(self.folder, step)}
        if self.revisions is not None:
            return {"repo": self.repo, "revision": self.revisions[step]}
        return {"repo": self.repo, "revision": named(self.revision, step)}


class Checkpoints(Section):
    """Checkpoints: how they are verified, and how long downloaded ones stay on disk."""

    verify: Literal["first", "all", "none"] = key("first", reruns="activations; circuits are kept")
    """Compare the logits of a model with those of TransformerLens before it is analysed: at its
    first step, at all steps, or at none. A model that differs is not analysed."""
    duplicates: Literal["refuse", "skip", "keep"] = key("skip", reruns="what the answer changes")
    """What to do with a checkpoint that has the weights of a later step, or none at all: stop
    before anything is downloaded (refuse), leave it out (skip), or analyse it and mark it
    (keep)."""
    keep: bool = key(False, reruns="if true, fetching and the stages after it; if false, nothing")
    """Keep them. If false, each is deleted as soon as no job needs it."""
    at_once: int = key(4, reruns="nothing", ge=1, le=10_000)
    """Largest number of checkpoints, of all models together, that are on disk at once. Checkpoints
    that wait for transfer.steps do not count."""
    slowest_kb_s: int = key(50, reruns="nothing", ge=0, le=1_000_000)
    """Smallest rate of a download, in kB per second over a minute. Below it, the connection counts
    as lost and is made again. 0 waits for any rate."""
    longest_hours: int = key(12, reruns="nothing", ge=1, le=1000)
    """Longest time for one file, in hours. The next start goes on where it stopped."""


class Model(Section):
    """One model: a size or a seed, followed across its training steps."""

    name: str = key(reruns="everything of this model", examples=["pocket-0.6m"], **FILE_NAME)
    """Unique name in paths and tables."""
    label: PlainText = key(
        lambda model: model["name"],
        reruns="figures",
        min_length=1,
        allowed="text, not empty",
        otherwise="`name`",
    )
    """Name in figures."""
    variant_of: str | None = key(None, reruns="figures", examples=["pocket-0.6m"], **FILE_NAME)
    """Name of the model that this one repeats with other seeds. Variants appear only in figures
    about seeds."""
    train: Train | None = key(None, examples=[{"layers": 4, "heads": 4, "d_model": 128}])
    """Shape of a model to train. Cannot be combined with hub."""
    hub: Hub | None = key(None, examples=[{"repo": "EleutherAI/pythia-70m"}])
    """Source of a published model. Cannot be combined with train."""
    schedule: Schedule | None = key(None, reruns="new steps; tables, figures")
    """Name of a list of steps to analyse in this model only; config/README.md lists them."""
    circuits: bool = key(True, reruns="circuits")
    """Find circuits, score heads and trace algorithms. If false, only behaviour is measured."""
    steps: Steps = key(
        lambda: (),
        reruns="new steps; tables, figures",
        otherwise="`schedule`, or that of the top level",
    )
    """Training steps to analyse in this model only, instead of a schedule: in ascending order, each
    saved or published."""

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
            data = self.train.data_seed
            return f"seed{self.train.seed}" + (f"-data{data}" if data != 1 else "")
        return self.hub.repo.rpartition("/")[2] if self.hub is not None else ""


class TextShares(Section, json_schema_extra=reruns("training; for a new kind of text, corpus")):
    """Share of each kind of text among the sequences of a phase."""

    sentences: float = key(0.0, ge=0, le=1)
    """Single sentences about giving, agreement, years, pronouns and ordered lists."""
    exchanges: float = key(0.0, ge=0, le=1)
    """Two people meet; then one gives something to the other, two to four times."""
    couples: float = key(0.0, ge=0, le=1)
    """Two or three couples meet; then people give to their partners, in any order."""
    repeats: float = key(0.0, ge=0, le=1)
    """Random words: a few of them over and over, mostly with other words in between."""

    def problems(self) -> Iterator[Problem]:
        """Check that the shares are those of a whole."""
        if not math.isclose(total := sum(self.shares.values()), 1, abs_tol=1e-6):
            yield Problem((), f"has shares that add up to {total:g}; they must add up to 1.")

    @property
    def shares(self) -> dict[str, float]:
        """The kinds of text with a share above 0."""
        return {kind: share for kind, share in self.model_dump().items() if share}


class Phase(Section, json_schema_extra=reruns("training")):
    """Consecutive training steps with one kind of batches; each phase starts AdamW anew."""

    steps: int = key(ge=1, le=1_000_000, examples=[500])
    """Number of training steps."""
    text: TextShares = key(
        TextShares(sentences=1.0),
        description="Share of each kind of text among the sequences; the shares add up to 1.",
    )
    batch_size: int = key(32, ge=1, le=4096)
    """Sequences per training step."""
    sequence_length: int = key(48, ge=8, le=256)
    """Tokens per sequence."""
    learning_rate: float = key(1e-3, gt=0, le=1)
    """Peak learning rate for d_model 128; for other widths, inversely proportional to d_model."""
    final_rate: float = key(0.1, ge=0, le=1)
    """Learning rate at the end of the phase, as a share of the peak; it falls by half a cosine."""
    warmup_steps: int = key(20, ge=0, le=1_000_000)
    """Steps over which the learning rate rises to its peak."""
    weight_decay: float = key(0.01, ge=0, le=1)
    """Weight decay of matrices; biases and LayerNorms have none."""
    bias_rate: float = key(1.0, gt=0, le=100)
    """Learning rate of biases and LayerNorms, in multiples of that of matrices."""

    def problems(self) -> Iterator[Problem]:
        """Check that the learning rate reaches its peak before the phase ends."""
        if self.steps <= self.warmup_steps:
            sentence = f"= {self.warmup_steps} must be smaller than steps = {self.steps}: the "
            yield Problem(("warmup_steps",), f"{sentence}learning rate would not reach its peak.")

    @property
    def tokens_per_step(self) -> int:
        """Tokens that a model sees in one step."""
        return self.batch_size * self.sequence_length


class Training(Section, json_schema_extra=reruns("training")):
    """How the suite is trained: every model on the same data in the same order (AdamW)."""

    phases: tuple[Annotated[Phase, Lenient], ...] = key(
        strict=False, min_length=1, examples=[[{"steps": 500}]]
    )
    """Phases of training, one after another. Steps are counted over all of them."""
    save_steps: Steps = key(examples=[[0, 250, 500]])
    """Training steps whose weights are saved, in ascending order. Training stops at the last."""
    threads: int = key(1, ge=1, le=128)
    """CPU threads per training job."""
    corpus_tokens: int = key(1_000_000, reruns="corpus", ge=1000, le=1_000_000_000)
    """Tokens of each kind of text in the corpus."""
    corpus_seed: Seed = key(1, reruns="corpus")
    """Seed of the corpus."""

    def problems(self) -> Iterator[Problem]:
        """Check that no step is saved after training has ended."""
        total = sum(phase.steps for phase in self.phases)
        for place, step in enumerate(self.save_steps):
            if step > total:
                sentence = f"= {step} is beyond {total}, the number of steps of all phases."
                yield Problem(("save_steps", place), sentence)

    @property
    def kinds(self) -> list[str]:
        """The kinds of text that some phase needs."""
        return sorted({kind for phase in self.phases for kind in phase.text.shares})

    def tokens_at(self, step: int) -> int:
        """Return how many tokens a model has seen after a step."""
        tokens = 0
        for phase in self.phases:
            tokens += min(step, phase.steps) * phase.tokens_per_step
            step = max(0, step - phase.steps)
        return tokens
