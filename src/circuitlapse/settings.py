"""Every section of the configuration: its keys, what they mean, and the values they allow.

The sections can be made in Python too: `Circuits(threshold=0.9)`. Each checks its own keys;
`config.cross_field` checks the sections against each other and against the files on disk.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from circuitlapse.tasks import base as tasks
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import MIN_PROMPTS, TASK_METRICS, IgRule, Method, Metric, Selection

KeyPath = tuple[str | int, ...]
"""The position of a value: `("models", 1, "steps", 2)` is models[1].steps[2]."""


@dataclass(frozen=True)
class Problem:
    """A wrong or missing value.

    Attributes:
        where: Its key.
        sentence: What is wrong, without the key; empty if a required key is missing.
    """

    where: KeyPath
    sentence: str = ""


RULE = "rule"
"""The type of a pydantic error whose message is the sentence of a `Problem`."""

INVALID: Any = object()
"""Takes the place of a value that pydantic refused; see `lenient`."""

LENIENT = "lenient"
"""Validation context in which a refused value becomes `INVALID`, and sections check no rules.

It gives cross-field validation everything that is valid, although something else is not.
"""


def lenient(value: Any, handler: Callable[[Any], Any], info: Any) -> Any:
    """Validate a value; in the context `LENIENT`, return `INVALID` where it is refused."""
    try:
        return handler(value)
    except ValidationError:
        if info.context != LENIENT:
            raise
        return INVALID


def nearest(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'NEAREST'?", or "." when nothing is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else "."


def rule_error(sentence: str) -> PydanticCustomError:
    """Return the pydantic error for a value that breaks a rule."""
    return PydanticCustomError(RULE, "{sentence}", {"sentence": sentence})


MAX_NAME = 100
"""Longest name that becomes a part of a path, in characters."""
MAX_PATH_PART = 255
"""Longest name of a file or folder that common file systems allow, in bytes."""

FILE_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9][a-z0-9.-]*$",
    "max_length": MAX_NAME,
    "allowed": f"at most {MAX_NAME} lower-case letters, digits, '.' and '-', starting with a "
    "letter or digit",
}
SEED: dict[str, Any] = {"ge": 0, "le": 2**32 - 1}
DEFAULT_SEED = 1234
STEPS: dict[str, Any] = {"strict": False, "min_length": 1}  # YAML has lists, not tuples

Lenient = WrapValidator(lenient)
Steps = tuple[Annotated[int, Field(ge=0), Lenient], ...]


def _expanded(path: str) -> str:
    """Replace `~` and environment variables: whatever reads the path later takes it literally."""
    for name in re.findall(r"\$\{?(\w+)", path):
        if name not in os.environ:
            raise rule_error(f"= '{path}' uses the environment variable {name}, which is not set.")
    try:
        home = str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise rule_error(f"= '{path}' names a user without a home directory.") from None
    if not (expanded := os.path.expandvars(home).rstrip("/")):
        raise rule_error(f"= '{path}' is an empty path.")
    if longest := [part for part in expanded.split("/") if len(os.fsencode(part)) > MAX_PATH_PART]:
        sentence = f"has a name of {len(os.fsencode(longest[0]))} bytes in its path; file systems "
        raise rule_error(f"{sentence}allow at most {MAX_PATH_PART}.")
    return expanded


PathText = Annotated[str, AfterValidator(_expanded)]

Schedule = Literal["all", "linear", "exponential", "exp_plus_detail", "sparse", "quick"]

TOKENS_PER_STEP = 1024 * 2048
"""Tokens that a Pythia model sees in one training step."""

_DOUBLING = tuple(2**power for power in range(10))


def _every(step: int, *, first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1, step))


SCHEDULES: Mapping[Schedule, tuple[int, ...]] = {
    "all": (0, *_DOUBLING, *_every(1000, first=1000, last=143_000)),
    "linear": _every(1000, first=1000, last=143_000),
    "exponential": (*_DOUBLING, *(1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 131_000)),
    "exp_plus_detail": (
        *(0, *_DOUBLING),
        *_every(1000, first=1000, last=15_000),
        *_every(5000, first=20_000, last=65_000),
        *_every(10_000, first=70_000, last=140_000),
        143_000,
    ),
    "sparse": (
        *(256, 512),
        *_every(1000, first=1000, last=9000),
        *_every(5000, first=10_000, last=45_000),
        *_every(10_000, first=50_000, last=90_000),
        *(100_000, 120_000, 140_000, 143_000),
    ),
    "quick": (0, 64, 512, 1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 100_000, 143_000),
}
"""Lists of training steps at which Pythia was published (Biderman et al. 2023, arXiv 2304.01373):
0, powers of two up to 512, and every 1000. All but `quick` come from Tigges et al. 2024
(arXiv 2407.10827); 0 and 143000 were added to its `exp_plus_detail`."""

PUBLISHED = SCHEDULES["all"]
"""The steps at which every Pythia model was published."""
PUBLISHED_BY = "EleutherAI/pythia"
"""The start of the name of every Pythia repository."""


class Section(BaseModel):
    """A mapping of keys: immutable, without unknown keys, and strict about types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def problems(self) -> Iterator[Problem]:
        """Yield the rules that keys break together; each key alone is valid."""
        yield from ()

    @model_validator(mode="after")
    def _cross_field(self, info: Any) -> Section:
        problems = () if info.context == LENIENT else self.problems()
        if errors := [_line_error(problem) for problem in problems]:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self


def _line_error(problem: Problem) -> InitErrorDetails:
    kind = rule_error(problem.sentence) if problem.sentence else "missing"
    return InitErrorDetails(type=kind, loc=problem.where, input=None)


def key(
    sentence: str,
    default: Any = ...,
    *,
    reruns: str = "",
    allowed: str = "",
    otherwise: str = "",
    **field: Any,
) -> Any:
    """Describe one key.

    Args:
        sentence: What the key means, with its unit.
        default: Its value when it is not set; without one the key is required. Together with
            `otherwise`, a function of the keys before it in the same section.
        reruns: What is computed again when it changes, if that differs from its section.
        allowed: The values it may take, in words, where a pattern would be hard to read.
        otherwise: Its value when it is not set, in words, where that depends on other keys.
        field: Passed on to `pydantic.Field`: limits, pattern, examples.
    """
    notes = {"x-reruns": reruns, "x-allowed": allowed, "x-otherwise": otherwise}
    field |= {
        "description": sentence,
        "json_schema_extra": {name: text for name, text in notes.items() if text},
    }
    if otherwise:  # a factory, because the JSON schema must not show a default
        return Field(default_factory=default, **field)
    return Field(default, **field)


def reruns(what: str) -> dict[str, Any]:
    """Say what is computed again when a key of a section changes, unless the key says otherwise."""
    return {"x-reruns": what}


def section(kind: type[Section]) -> Any:
    """Describe a key whose value is a section, each key of which has a default."""
    return key(str(kind.__doc__), kind())


if TYPE_CHECKING:  # a type checker cannot see what the registries hold
    FastMethod = Method
    TaskMetric = Metric
    Builder = str
    Corruption = str
else:
    FastMethod = Literal[*(method for method in Method if method is not Method.EXACT)]
    TaskMetric = Literal[*TASK_METRICS]
    Builder = Literal[*BUILDERS]
    Corruption = Literal[*BUILDERS["ioi"].options["corruption"]]


class Activations(Section):
    """The activations of every head and layer, on disk."""

    keep: bool = key(
        "Keep them. If false, they are deleted as soon as no job needs them.",
        False,
        reruns="if true, deleted activations, and circuits, with the same result; if false, "
        "nothing, and no file is deleted",
    )
    dtype: Literal["float16", "float32"] = key(  # HDF5 has no bfloat16
        "Number format on disk.", "float32", reruns="activations"
    )


class Circuits(Section, json_schema_extra=reruns("circuits, and activations unless kept")):
    """How edges are scored, and how the smallest faithful circuit is found."""

    method: FastMethod = key("How an edge is scored (arXiv 2403.17806).", Method.EAP_IG_INPUTS)
    ig_steps: int = key(
        "For eap_ig methods: number of points on the integration path from corrupted to clean.",
        30,
        ge=1,
        le=1000,
    )
    ig_rule: IgRule = key(
        "For eap_ig methods: position of a point in its interval. left is the end that the paper's "
        "implementation uses: the corrupted one for eap_ig_inputs, the clean one for the others. "
        "midpoint has a smaller error.",
        IgRule.LEFT,
        strict=False,
    )
    selection: Selection = key(
        "Grow the circuit backwards from the logits (greedy, as in the paper), or take the edges "
        "with the largest scores (top_n).",
        Selection.GREEDY,
        strict=False,
    )
    threshold: float = key(
        "Faithfulness that a circuit must reach, as a fraction of the model's task metric.",
        0.8,
        gt=0,
        le=1,
    )
    max_fraction: float = key(
        "Largest circuit tried, as a fraction of the model's edges.",
        0.5,
        gt=0,
        le=1,
    )
    grid_ratio: float = key(
        "Ratio of neighbouring sizes on the faithfulness curve; closer to 1 is finer and slower.",
        1.6,
        gt=1,
        le=10,
    )
    refine_points: int = key(
        "Number of sizes tried between the largest that fails and the smallest that passes.",
        4,
        ge=0,
        le=100,
    )
    random_circuits: int = key(
        "Number of random edge rankings, as a baseline.",
        3,
        ge=0,
        le=100,
    )
    noise_floor: bool = key(
        "Also find circuits on two halves of the prompts, to see how much the choice of prompts "
        "changes a circuit. Needs at least 20 prompts; smaller tasks are skipped.",
        True,
    )


class Heads(Section, json_schema_extra=reruns("head scores, and activations unless kept")):
    """How attention heads are scored."""

    text: PathText | None = key(
        "Text file for cspa (copy suppression), with a blank line between documents. By default, "
        "held-out text of the corpus; published models have no such default.",
        None,
        min_length=1,
        allowed="a path",
    )
    dataset: str | None = key(
        "Dataset on the Hugging Face hub with a column `text`; its first documents are used. "
        "Cannot be combined with text.",
        None,
        min_length=1,
        allowed="the name of a dataset",
        examples=["NeelNanda/pile-10k"],
    )
    n_documents: int = key("Number of documents for cspa.", 17, ge=1, le=10_000)
    n_mean: int = key(
        "Number of documents for the mean output of a head, which cspa uses.",
        100,
        ge=1,
        le=10_000,
    )
    n_positions: int = key(
        "Tokens read from each document; shorter documents are skipped.",
        61,
        ge=2,
        le=256,
    )
    n_sequences: int = key(
        "Number of sequences of random tokens, for induction, prev_token and duplicate.",
        10,
        ge=1,
        le=10_000,
    )
    length: int = key(
        "Random tokens per sequence. They are repeated once, so twice as many must fit into the "
        "context of the models.",
        100,
        ge=2,
        le=128,
    )
    copy_ln: Literal["full", "folded"] = key(
        "LayerNorms in copy and copy_neg: complete (full), or as linear maps folded into the "
        "weights, as in the paper's implementation (folded).",
        "full",
    )
    succession_ln: Literal["ln2", "none"] = key(
        "Input of the first MLP in succession: the normalised embedding (ln2), or the raw "
        "embedding, as in the paper's implementation (none).",
        "ln2",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that the text has one source."""
        if self.text is not None and self.dataset is not None:
            yield Problem(("dataset",), "cannot be combined with heads.text; remove one of them.")


class Algorithm(Section, json_schema_extra=reruns("algorithms, and activations unless kept")):
    """Which heads count as parts of the IOI algorithm, and how their effect is measured."""

    min_copy: float = key(
        "Copy score above which a head can be a name mover, in percent.",
        10.0,
        ge=0,
        le=100,
    )
    min_cspa: float = key("cspa above which a head counts as copy suppression.", 0.1, le=1)
    max_effect: float = key(
        "Effect below which a head can be an S-inhibition, induction or duplicate-token head. At "
        "-1, the metric falls to its value on corrupted prompts.",
        -0.001,
        le=0,
    )
    freeze_mlps: bool = key(
        "Freeze MLPs when a path is patched, so that a path through an MLP does not count as "
        "direct. The paper's implementation recomputes them.",
        False,
    )


class Bootstrap(Section, json_schema_extra=reruns("activations")):
    """Confidence intervals from resampled prompts."""

    samples: int = key("Number of resamples.", 1000, ge=100, le=100_000)
    level: float = key("Confidence level.", 0.95, gt=0, lt=1)
    seed: int = key(
        "Seed of the resampling.",
        lambda: DEFAULT_SEED,
        otherwise="`seed` of the top level",
        **SEED,
    )


class Stability(Section, json_schema_extra=reruns("tables")):
    """How circuits are compared over training, and their sizes between models."""

    alpha: float = key(
        "Weight of the newest step in the exponentially weighted mean of consecutive overlaps.",
        0.5,
        gt=0,
        le=1,
    )
    reference_step: int | None = key(
        "Training step whose circuit is compared with those of all other steps; every model must "
        "have circuits at this step. null takes the last step of each model.",
        None,
        ge=0,
    )
    min_step: int = key(
        "First training step that is compared, and that counts for mean circuit sizes.",
        1,
        ge=0,
        le=1_000_000,
    )


class Compute(Section, json_schema_extra=reruns("activations")):
    """Where and how models run during the analysis."""

    device: str = key(
        "Device that models run on.",
        "cpu",
        pattern=r"^(cpu|cuda(:[0-9]+)?)$",
        allowed="one of cpu, cuda, cuda:0, cuda:1 and so on",
    )
    dtype: Literal["float32", "float64", "bfloat16"] = key(
        "Number format of weights and arithmetic.", "float32"
    )
    batch_size: int | None = key(
        "Prompts per forward pass. null takes as many as fit into memory_mb.",
        None,
        ge=1,
        le=100_000,
    )
    memory_mb: int | None = key(
        "Memory for the activations of a forward pass, in MB. null takes 500 MB on a CPU and most "
        "of the free memory of a GPU.",
        None,
        ge=1,
        le=10_000_000,
    )
    threads: int = key("CPU threads per job.", 1, ge=1, le=128)


class Figures(Section, json_schema_extra=reruns("figures")):
    """How figures are drawn."""

    min_step: int = key(
        "First training step on logarithmic axes, which cannot show step 0.",
        1,
        ge=1,
        le=1_000_000,
    )


Pair = Annotated[
    Steps,
    Field(
        strict=False,
        min_length=2,
        max_length=2,
        json_schema_extra={"x-allowed": "a pair [source, target] of two steps"},
    ),
    Lenient,
]


class Transfer(Section, json_schema_extra=reruns("transfer")):
    """Circuits tested in the models of other steps, and on other tasks."""

    steps: Steps | None = key(
        "Training steps that exchange circuits, in ascending order; every model must have circuits "
        "at these steps. null takes all analysed steps. Downloaded checkpoints of these steps stay "
        "on disk until the transfer is done, so list only a few steps of large models.",
        None,
        allowed="a list of steps, or null",
        strict=False,
        min_length=1,
    )


class Swaps(Section, json_schema_extra=reruns("swaps")):
    """Heads of one training step run in the model of another."""

    pairs: tuple[Pair, ...] | None = key(
        "Pairs [source, target] of training steps: the source lends heads to the target. Every "
        "model must have circuits at both. null takes the last of transfer.steps as the source for "
        "each of the others.",
        None,
        allowed="a list of pairs [source, target] of two steps, or null",
        strict=False,
    )
    random_sets: int = key(
        "Number of random head sets of the same size, as a baseline; 0 for none.",
        3,
        ge=0,
        le=100,
    )


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
        "Start every prompt with a begin-of-text token. Pythia was trained without one.",
        False,
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
        "Width of the residual stream.",
        ge=8,
        le=4096,
        multiple_of=8,
        examples=[128],
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
        "Steps over which the learning rate rises to its peak.",
        100,
        ge=0,
        le=1_000_000,
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
