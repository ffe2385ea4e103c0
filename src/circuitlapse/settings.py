"""The keys that say how models are analysed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import MIN_PROMPTS, IgRule, Method, Metric, Selection

FILE_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9][a-z0-9.-]*$",
    "allowed": "small letters, digits, '.' and '-', with a letter or digit first",
}
SEED: dict[str, Any] = {"ge": 0, "le": 2**32 - 1}
DEFAULT_SEED = 1234
STEPS: dict[str, Any] = {"strict": False, "min_length": 1}  # YAML has lists, not tuples

TOKENS_PER_STEP = 1024 * 2048
"""Tokens that a Pythia model sees in one training step."""

Schedule = Literal["all", "linear", "exponential", "exp_plus_detail", "sparse", "quick"]
"""Named lists of steps; see `circuitlapse.config.schedules`."""

Steps = tuple[Annotated[int, Field(ge=0)], ...]


class Section(BaseModel):
    """A mapping of keys: immutable, nothing unknown allowed, no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
        default: Its value when it is not set; without one the key is required. Beside
            `otherwise`, the value that the section has in Python.
        reruns: What is computed again when it changes.
        allowed: The values it may take, in words, where a pattern would be hard to read.
        otherwise: What holds when it is not set, where that depends on other keys.
        field: Passed on to `pydantic.Field`: limits, pattern, examples.
    """
    notes = {"x-reruns": reruns, "x-allowed": allowed, "x-otherwise": otherwise}
    field |= {
        "description": sentence,
        "json_schema_extra": {name: text for name, text in notes.items() if text},
    }
    if otherwise:  # a factory, because the JSON schema must not show a default
        return Field(default_factory=lambda: None if default is ... else default, **field)
    return Field(default, **field)


def section(kind: type[Section]) -> Any:
    """Describe a key whose value is a section, each key of which has a default."""
    return key(str(kind.__doc__), kind())


FastMethod = Literal[
    Method.EAP,
    Method.EAP_IG_INPUTS,
    Method.EAP_IG_ACTIVATIONS,
    Method.EAP_IG_ACTIVATIONS_POOLED,
    Method.CLEAN_CORRUPTED,
]


CIRCUITS = "circuits, and activations unless kept"
HEADS = "head scores, and activations unless kept"
ALGORITHM = "algorithms, and activations unless kept"


class Activations(Section):
    """The activations of every head and layer, on disk."""

    keep: bool = key(
        "Keep them; otherwise they are deleted as soon as no job needs them.",
        False,
        reruns="if true, activations already deleted, and circuits, which are kept as they are; "
        "if false, nothing, and the files stay",
    )
    dtype: Literal["float16", "float32"] = key(  # HDF5 has no bfloat16
        "Number format on disk.", "float32", reruns="activations"
    )


class Circuits(Section):
    """How edges are scored, and how the smallest faithful circuit is searched."""

    method: FastMethod = key(
        "How an edge is scored (arXiv 2403.17806).", Method.EAP_IG_INPUTS, reruns=CIRCUITS
    )
    ig_steps: int = key(
        "For eap_ig methods: points on the line from the corrupted to the clean end.",
        30,
        reruns=CIRCUITS,
        ge=1,
        le=1000,
    )
    ig_rule: IgRule = key(
        "For eap_ig methods: where in its interval a point lies, at the end that the paper's "
        "implementation takes (left: the corrupted end for eap_ig_inputs, the clean one for the "
        "others) or in the middle (smaller error).",
        IgRule.LEFT,
        reruns=CIRCUITS,
        strict=False,
    )
    selection: Selection = key(
        "Grow the circuit backwards from the logits (greedy, the paper's), or take the strongest "
        "edges wherever they are (top_n).",
        Selection.GREEDY,
        reruns=CIRCUITS,
        strict=False,
    )
    threshold: float = key(
        "Faithfulness that a circuit must reach, as a fraction of the model's task metric.",
        0.8,
        reruns=CIRCUITS,
        gt=0,
        le=1,
    )
    max_fraction: float = key(
        "Largest circuit tried, as a fraction of the model's edges.",
        0.5,
        reruns=CIRCUITS,
        gt=0,
        le=1,
    )
    grid_ratio: float = key(
        "Ratio of neighbouring sizes on the faithfulness curve; nearer to 1 is finer and slower.",
        1.6,
        reruns=CIRCUITS,
        gt=1,
        le=10,
    )
    refine_points: int = key(
        "Number of sizes tried between the last that fails and the first that passes.",
        4,
        reruns=CIRCUITS,
        ge=0,
        le=100,
    )
    random_circuits: int = key(
        "Number of random orders of the edges that circuits are compared with.",
        3,
        reruns=CIRCUITS,
        ge=0,
        le=100,
    )
    noise_floor: bool = key(
        "Also find circuits on two halves of the prompts, to see how much the choice of prompts "
        "alone changes a circuit; a task with fewer than 20 prompts has too few for that.",
        True,
        reruns=CIRCUITS,
    )


class Heads(Section):
    """What is measured of every attention head."""

    text: str | None = key(
        "A text file for copy suppression, relative to the working directory, with blank lines "
        "between documents; null takes text that the suite was not trained on.",
        None,
        reruns=HEADS,
        min_length=1,
        allowed="a path",
    )
    dataset: str | None = key(
        "A dataset of the Hugging Face hub with a column `text`, whose first documents are taken; "
        "not together with text. For published models there is no other text.",
        None,
        reruns=HEADS,
        min_length=1,
        allowed="the name of a dataset",
        examples=["NeelNanda/pile-10k"],
    )
    n_documents: int = key("Documents that cspa is measured on.", 17, reruns=HEADS, ge=1, le=10_000)
    n_mean: int = key(
        "Documents that the mean output of a head is taken over, for cspa.",
        100,
        reruns=HEADS,
        ge=1,
        le=10_000,
    )
    n_positions: int = key(
        "Tokens of each document; shorter ones are passed over.",
        61,
        reruns=HEADS,
        ge=2,
        le=256,
    )
    n_sequences: int = key(
        "Sequences of random tokens, for induction, prev_token and duplicate.",
        10,
        reruns=HEADS,
        ge=1,
        le=10_000,
    )
    length: int = key(
        "Tokens of each of them; they come twice, and that must fit into the models' context.",
        100,
        reruns=HEADS,
        ge=2,
        le=128,
    )
    copy_ln: Literal["full", "folded"] = key(
        "LayerNorms in copy and copy_neg: with their scale and bias (full), or as the paper's "
        "implementation has them (folded).",
        "full",
        reruns=HEADS,
    )
    succession_ln: Literal["ln2", "none"] = key(
        "What the first MLP reads in succession: the normalised embedding (ln2), or the embedding "
        "as it is (none), as in the paper's implementation.",
        "ln2",
        reruns=HEADS,
    )


class Algorithm(Section):
    """What makes a head a part of the IOI algorithm, and how its effect is measured."""

    min_copy: float = key(
        "Copy score above which a head can be a name mover, in %.",
        10.0,
        reruns=ALGORITHM,
        ge=0,
        le=100,
    )
    min_cspa: float = key("cspa above which a head suppresses copies.", 0.1, reruns=ALGORITHM, le=1)
    max_effect: float = key(
        "Effect below which a head can be an S-inhibition, induction or duplicate-token head; at "
        "-1 the metric falls to its corrupted level.",
        -0.001,
        reruns=ALGORITHM,
        le=0,
    )
    freeze_mlps: bool = key(
        "Hold MLPs when a path is patched, so that a path through an MLP does not count as direct; "
        "the paper's implementation recomputes them.",
        False,
        reruns=ALGORITHM,
    )


class Bootstrap(Section):
    """Confidence intervals, from resampled prompts."""

    samples: int = key("Number of resamples.", 1000, reruns="activations", ge=100, le=100_000)
    level: float = key("Confidence level.", 0.95, reruns="activations", gt=0, lt=1)
    seed: int = key(
        "Seed of the resampling.",
        DEFAULT_SEED,
        reruns="activations",
        otherwise="`seed` of the top level",
        **SEED,
    )


class Stability(Section):
    """How circuits are compared over training, and their sizes between models."""

    alpha: float = key(
        "Weight of the newest step in the exponentially weighted mean of consecutive overlaps.",
        0.5,
        reruns="tables",
        gt=0,
        le=1,
    )
    reference_step: int | None = key(
        "Training step whose circuit those of all other steps are compared with; every model "
        "must have circuits of it. Otherwise the last step of each model.",
        None,
        reruns="tables",
        ge=0,
    )
    min_step: int = key(
        "First training step that counts, also for mean circuit sizes.",
        1,
        reruns="tables",
        ge=0,
        le=1_000_000,
    )


class Compute(Section):
    """Where and how models run when they are analysed."""

    device: str = key(
        "Where models run.",
        "cpu",
        reruns="activations",
        pattern=r"^(cpu|cuda(:[0-9]+)?)$",
        allowed="one of cpu, cuda, cuda:0, cuda:1 and so on",
    )
    dtype: Literal["float32", "float64", "bfloat16"] = key(
        "Number format of weights and arithmetic.", "float32", reruns="activations"
    )
    batch_size: int | None = key(
        "Prompts per forward pass. Otherwise as many as fit in memory_mb.",
        None,
        reruns="activations",
        ge=1,
        le=100_000,
    )
    memory_mb: int | None = key(
        "Memory for what a forward pass holds. Otherwise 500 MB on a CPU, and most of the free "
        "memory of a GPU.",
        None,
        reruns="activations",
        ge=1,
        le=10_000_000,
    )
    threads: int = key("CPU threads per job.", 1, reruns="activations", ge=1, le=128)


class Figures(Section):
    """How figures are drawn."""

    min_step: int = key(
        "First training step on a logarithmic axis, which has no place for step 0.",
        1,
        reruns="figures",
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
]


class Transfer(Section):
    """Circuits in the models of other steps, and on other tasks."""

    steps: Steps | None = key(
        "Training steps that exchange their circuits, ascending; each must be analysed in every "
        "model. null takes all analysed steps of a model. Checkpoints that are fetched stay on "
        "disk until then, so name a few steps where models are large.",
        None,
        reruns="transfer",
        allowed="a list of steps, or null",
        strict=False,
        min_length=1,
    )


class Swaps(Section):
    """Heads of one training step in the model of another."""

    pairs: tuple[Pair, ...] | None = key(
        "Pairs [source, target] of training steps: which step lends heads to which; each must be "
        "analysed in every model. null lets the last step of transfer.steps lend to the others.",
        None,
        reruns="swaps",
        allowed="a list of pairs [source, target] of two steps, or null",
        strict=False,
    )
    random_sets: int = key(
        "How often as many heads are drawn at random, as a control; 0 for no control.",
        3,
        reruns="swaps",
        ge=0,
        le=100,
    )


TaskMetric = Literal[Metric.LOGIT_DIFF, Metric.PROB_DIFF]
if TYPE_CHECKING:  # a type checker cannot see what the registry holds
    Builder = str
    Corruption = str
else:
    Builder = Literal[*BUILDERS]
    Corruption = Literal[*BUILDERS["ioi"].options["corruption"]]

_FINITE = ", ".join(name for name, builder in BUILDERS.items() if builder.finite)
TASK_OPTIONS = tuple(dict.fromkeys(name for one in BUILDERS.values() for name in one.options))
"""Keys of a task that belong to some builder only."""


class Task(Section):
    """One task: pairs of a clean and a corrupted prompt, and the metric that scores them."""

    name: str = key(
        "Name in paths, tables and figures; each task has its own.",
        reruns="prompts of this task; activations and circuits of all",
        pattern=r"^[a-z][a-z0-9_]*$",
        allowed="small letters, digits and '_', with a letter first",
        examples=["ioi"],
    )
    builder: Builder | None = key(
        "The built-in task that makes the prompts; not together with file.",
        reruns="prompts",
        otherwise="`name`, unless there is a file",
    )
    file: str | None = key(
        "A file of your own prompts, relative to the working directory; not together with builder.",
        None,
        reruns="prompts",
        pattern=r"\.(csv|jsonl)$",
        allowed="a path that ends in .csv or .jsonl",
    )
    metric: TaskMetric = key(
        "How a prompt is scored; set it for a file only, because a builder fixes its own.",
        reruns="prompts",
        examples=["logit_diff"],
        otherwise="fixed by the builder; required with a file",
    )
    n_prompts: int | None = key(
        f"Number of prompt pairs; null takes all there are, for {_FINITE} and for a file; "
        "the prompts of the other tasks are drawn at random.",
        reruns="prompts",
        ge=MIN_PROMPTS,
        le=100_000,
        otherwise="100; null with a file",
    )
    seed: int = key(
        "Seed that draws the prompts of this task.",
        DEFAULT_SEED,
        reruns="prompts",
        otherwise="`seed` of the top level",
        **SEED,
    )
    prepend_bos: bool = key(
        "Start every prompt with a begin-of-text token; Pythia was trained without one.",
        False,
        reruns="prompts",
    )
    corruption: Corruption | None = key(
        "For ioi: a corrupted prompt names, in place of the second subject, the indirect object "
        "(s2_to_io, the paper's) or a third person (s2_to_random).",
        reruns="prompts",
        otherwise="s2_to_io for ioi, else null",
    )

    @property
    def options(self) -> dict[str, str]:
        """Keyword arguments that only this task's builder understands."""
        given = {name: getattr(self, name) for name in TASK_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}


class Train(Section):
    """The shape of a model that the workflow trains itself (GPT-NeoX, like Pythia)."""

    layers: int = key("Number of layers.", reruns="training", ge=1, le=48, examples=[4])
    heads: int = key(
        "Attention heads per layer; d_model / heads must be even, because rotary positions turn "
        "the dimensions of a head in pairs.",
        reruns="training",
        ge=1,
        le=64,
        examples=[4],
    )
    d_model: int = key(
        "Width of the residual stream.",
        reruns="training",
        ge=8,
        le=4096,
        multiple_of=8,
        examples=[128],
    )
    seed: int = key("Seed of the initial weights.", 1, reruns="training", **SEED)
    data_seed: int | None = key(
        "Seed of the order of the training sequences; null takes the order of the text.",
        None,
        reruns="training",
        **SEED,
    )


class Hub(Section):
    """A published model: each of its training steps is a revision of a repository."""

    repo: str = key(
        "Repository on the Hugging Face hub.",
        reruns="fetching",
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        allowed="OWNER/NAME, such as EleutherAI/pythia-70m",
        examples=["EleutherAI/pythia-70m"],
    )
    revision: str = key(
        "Revision of a step; {step} stands for its number.",
        "step{step}",
        reruns="fetching",
        min_length=1,
        allowed="text, not empty",
    )
    folder: str | None = key(
        "A folder that has the files of a step already; {step} stands for its number. It is read "
        "in place of the repository.",
        None,
        reruns="fetching",
        examples=["/data/pythia-70m/step{step}"],
    )
    tokens_per_step: int = key(
        "Tokens that the model saw in one training step.",
        reruns="activations",
        ge=1,
        le=10**9,
        examples=[4_194_304],
        otherwise=f"{TOKENS_PER_STEP} for EleutherAI/pythia; required for others",
    )

    def source(self, step: int) -> dict[str, str]:
        """Return where the files of a step are: a repo and its revision, or a folder."""
        if self.folder is not None:
            return {"folder": self.folder.replace("{step}", str(step))}
        return {"repo": self.repo, "revision": self.revision.replace("{step}", str(step))}


class Checkpoints(Section):
    """Published models on disk, while they are analysed."""

    keep: bool = key(
        "Keep them; otherwise each is deleted as soon as no job needs it.",
        False,
        reruns="if true, fetching, and what comes after it; if false, nothing",
    )
    at_once: int = key(
        "Most training steps of all models together that are fetched before the first of them is "
        "done with.",
        4,
        reruns="nothing",
        ge=1,
        le=10_000,
    )


class Model(Section):
    """One model: a size or a seed, followed across its training steps."""

    name: str = key(
        "Name in paths and tables; each model has its own.",
        reruns="everything of this model",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    label: str = key(
        "Name in figures.",
        reruns="figures",
        min_length=1,
        allowed="text, not empty",
        otherwise="`name`",
    )
    variant_of: str | None = key(
        "Name of the model that this one repeats with other seeds; in figures about seeds only.",
        None,
        reruns="figures",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    train: Train | None = key(
        "The shape to train; not together with hub.",
        None,
        examples=[{"layers": 4, "heads": 4, "d_model": 128}],
    )
    hub: Hub | None = key(
        "Where a published model is; not together with train.",
        None,
        examples=[{"repo": "EleutherAI/pythia-70m"}],
    )
    schedule: Schedule | None = key(
        "Name of a list of steps to analyse in this model only; config/README.md has them.",
        None,
        reruns="new steps; tables, figures",
    )
    circuits: bool = key(
        "Find circuits, score heads and trace algorithms; otherwise only behaviour is measured.",
        True,
        reruns="circuits",
    )
    steps: Steps = key(
        "Training steps to analyse in this model only, in place of a schedule; ascending, each "
        "saved or published.",
        reruns="new steps; tables, figures",
        otherwise="`schedule`, or that of the top level",
        **STEPS,
    )

    @property
    def variant(self) -> str:
        """What tells models of one size apart: their initial weights, or their repository."""
        if self.train is not None:
            order = self.train.data_seed
            return f"seed{self.train.seed}" + (f"-data{order}" if order is not None else "")
        return self.hub.repo.rpartition("/")[2] if self.hub is not None else ""


class Training(Section):
    """How the suite is trained: every model on the same data in the same order (AdamW)."""

    save_steps: Steps = key(
        "Training steps whose weights are saved, ascending; training ends at the last one.",
        reruns="training",
        examples=[[0, 500, 1000]],
        **STEPS,
    )
    batch_size: int = key("Sequences per training step.", 32, reruns="training", ge=1, le=4096)
    sequence_length: int = key("Tokens per sequence.", 48, reruns="training", ge=32, le=256)
    learning_rate: float = key(
        "Peak learning rate of a model 128 wide; that of others falls with their width.",
        1e-3,
        reruns="training",
        gt=0,
        le=1,
    )
    warmup_steps: int = key(
        "Steps over which the learning rate rises to its peak.",
        100,
        reruns="training",
        ge=0,
        le=1_000_000,
    )
    weight_decay: float = key("Weight decay.", 0.01, reruns="training", ge=0, le=1)
    threads: int = key("CPU threads per training job.", 1, reruns="training", ge=1, le=128)
    corpus_sentences: int = key(
        "Sentences in the generated text.", 200_000, reruns="corpus", ge=1000, le=100_000_000
    )
    corpus_seed: int = key("Seed of the generated text.", 1, reruns="corpus", **SEED)
