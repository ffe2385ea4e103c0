"""How models are analysed: one section per stage, with its keys and their defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from circuitlapse.settings.base import (
    DEFAULT_SEED,
    Lenient,
    OneError,
    PathText,
    PlainText,
    Problem,
    Section,
    Seed,
    Step,
    Steps,
    key,
    reruns,
    rule_error,
)
from circuitlapse.types import MIN_SPLITS, Faithfulness, IgRule, Level, Method, RoleRule, Selection

if TYPE_CHECKING:  # a type checker cannot see which members there are
    FastMethod = Method
    EdgeSelection = Selection
else:
    FastMethod = Literal[*(method for method in Method if method is not Method.EXACT)]
    EdgeSelection = Literal[*(how for how in Selection if how is not Selection.NODES)]


class Activations(Section):
    """The activations of every head and layer, on disk."""

    keep: bool = key(
        False,
        reruns="if true, deleted activations, and circuits, with the same result; if false, "
        "nothing, and no file is deleted",
    )
    """Keep them. If false, they are deleted as soon as no job needs them."""
    # HDF5 has no bfloat16
    dtype: Literal["float16", "float32"] = key("float32", reruns="activations")
    """Number format on disk."""


class Circuits(Section, json_schema_extra=reruns("circuits, and activations unless kept")):
    """How edges are scored, and how a small faithful circuit is found."""

    method: FastMethod = Method.EAP_IG_INPUTS
    """How an edge is scored (arXiv 2403.17806, 2403.00745)."""
    ig_steps: int = key(30, ge=1, le=1000)
    """For eap_ig methods: number of intervals of the integration path from corrupted to clean."""
    ig_rule: IgRule = key(IgRule.MIDPOINT, strict=False)
    """For eap_ig methods: where in each interval the gradient is taken. left is the end that the
    paper's implementation uses (corrupted for eap_ig_inputs, clean for the others). midpoint is
    more accurate at the same cost. trapezoid takes both ends, one gradient more in all."""
    level: Level = key(Level.EDGE, strict=False)
    """What is taken into the circuit one by one: edges, or nodes, each with all edges between it
    and the nodes that are in already."""
    selection: EdgeSelection = Selection.GREEDY
    """For edges: grow the circuit backwards from the logits (greedy, as in the paper), or take the
    edges with the largest scores (top_n). Cannot be combined with level: node; nodes are taken by
    their scores."""
    threshold: float = key(0.8, gt=0, le=1)
    """Faithfulness that a circuit must reach, as a fraction of the model's task metric."""
    faithfulness: Faithfulness = key(Faithfulness.RAW, strict=False)
    """Faithfulness that the threshold is about: metric of the circuit over that of the model (raw,
    as in the paper), or rescaled so that a circuit without edges is at 0 (normalised)."""
    max_fraction: float = key(0.5, gt=0, le=1)
    """Largest circuit tried, as a fraction of the model's edges, or nodes; see min_cap."""
    min_cap: int = key(1600, ge=1, le=10_000_000)
    """Number of edges, or nodes, up to which circuits are tried in every model, even if it is more
    than max_fraction. Otherwise circuits of small models would be cut off at smaller sizes. Few
    models have as many nodes as the default, so with level: node it usually lets all be tried."""
    grid_ratio: float = key(1.6, gt=1, le=10)
    """Ratio of neighbouring sizes on the faithfulness curve; closer to 1 is finer and slower."""
    refine_points: int = key(4, ge=0, le=100)
    """Number of sizes tried between the largest that fails and the smallest that passes."""
    eliminate: bool = False
    """Drop edges that the circuit does not need to stay faithful, the weakest first, until no
    single one can be dropped. The circuit is then no longer the first edges of the order, and its
    size has no interval."""
    random_circuits: int = key(3, ge=0, le=100)
    """Number of random edge rankings, as a baseline."""
    noise_floor: bool = True
    """Also find circuits on two halves of the prompts, to see how much the choice of prompts
    changes a circuit. Needs at least 20 groups of prompts (twins are one); smaller tasks are
    skipped."""
    splits: int = key(
        20, ge=0, le=1000, allowed="0, or a whole number, at least 20 and at most 1000"
    )
    """Number of other random splits of the prompts into halves, for the noise floor of stability. A
    change is reported where the overlap is below that of 95 % of them. 0, or noise_floor: false,
    reports no change."""

    certificates: bool = True
    """Test the circuit of each half of the prompts on the other half: whether it does as well as
    the model, whether the rest of the model knows the answer, and whether it needs its edges. Needs
    noise_floor."""
    knockouts: int = key(32, ge=1, le=10_000)
    """Number of edges of each of these circuits that are tested at most, drawn at random."""

    @property
    def order(self) -> Selection:
        """In which order edges are taken."""
        return Selection.NODES if self.level == Level.NODE else Selection(self.selection)

    def problems(self) -> Iterator[Problem]:
        """Check that the splits are enough for a quantile of 5 %."""
        if 0 < self.splits < MIN_SPLITS:
            yield Problem(
                ("splits",),
                f"= {self.splits} must be 0 or at least {MIN_SPLITS}: fewer say nothing of the "
                "lowest 5 %.",
            )


def _different(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("a number is there twice")
    return numbers


Lengths = Annotated[
    tuple[Annotated[int, Field(ge=2, le=128)], ...],
    Field(strict=False, min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
]


class Heads(Section, json_schema_extra=reruns("head scores, and activations unless kept")):
    """How attention heads are scored."""

    text: PathText | None = key(None, min_length=1, allowed="a path")
    """Text file for cspa (copy suppression), with a blank line between documents. By default,
    held-out text of the corpus; published models have no such default."""
    dataset: PlainText | None = key(
        None, pattern="^[^:?@]+$", allowed="the name of a dataset", examples=["NeelNanda/pile-10k"]
    )
    """Dataset on the Hugging Face hub with a column `text`; its first documents are used. Cannot be
    combined with text."""
    n_documents: int = key(17, ge=1, le=10_000)
    """Number of documents for cspa."""
    n_mean: int = key(100, ge=1, le=10_000)
    """Number of documents for the mean output of a head, which cspa uses."""
    n_positions: int = key(61, ge=2, le=256)
    """Tokens read from each document; shorter documents are skipped."""
    n_sequences: int = key(10, ge=1, le=10_000)
    """Number of sequences of random tokens of each length, for induction, prev_token and
    duplicate."""
    lengths: Lengths = key((50, 75, 100), examples=[[12, 16, 24]])
    """Random tokens per sequence; a head must do well at all of these lengths. Sequences are
    repeated once, so twice the longest must fit into the context of the models. The paper has one
    length."""
    copy_ln: Literal["full", "folded"] = "full"
    """LayerNorms in copy and copy_neg: complete (full), or as linear maps folded into the weights,
    as in the paper's implementation (folded)."""
    succession_ln: Literal["ln2", "none"] = "ln2"
    """Input of the first MLP in succession: the normalised embedding (ln2), or the raw embedding,
    as in the paper's implementation (none)."""

    def problems(self) -> Iterator[Problem]:
        """Check that the text has one source."""
        if self.text is not None and self.dataset is not None:
            yield Problem(("dataset",), "cannot be combined with heads.text; remove one of them.")


class Algorithm(Section, json_schema_extra=reruns("algorithms, and activations unless kept")):
    """Which heads count as parts of the IOI algorithm, and how their effect is measured."""

    rule: RoleRule = key(RoleRule.CONTROLLED, strict=False)
    """How heads get roles. controlled: induction and duplicate-token heads score at least twice
    chance; no induction head or name mover is in layer 0; an S-inhibition head is one whose
    position or token signal matters by min_s2i_effect, beyond noise. paper: scores above the mean
    are enough, and so are the right signs when the position signal is flipped."""
    min_copy: float = key(10.0, ge=0, le=100)
    """Copy score above which a head can be a name mover, in percent."""
    min_cspa: float = key(0.1, le=1)
    """cspa above which a head counts as copy suppression."""
    max_effect: float = key(-0.001, le=0)
    """Effect below which a head can be an S-inhibition, induction or duplicate-token head. At -1,
    the metric falls to its value on corrupted prompts."""
    min_s2i_effect: float = key(0.05, ge=0, le=1)
    """Smallest fall of the logit difference, as a share of it, when an S-inhibition head is misled.
    The default is the share below which a metric counts as negligible elsewhere."""
    min_total: float = key(0.1, ge=0, le=10)
    """Smallest sum of effects that a share is taken of; 1 is the drop to the corrupted level."""
    freeze_mlps: bool = False
    """Freeze MLPs when a path is patched, so that a path through an MLP does not count as direct.
    The paper's implementation recomputes them."""


class Bootstrap(Section, json_schema_extra=reruns("activations")):
    """Confidence intervals from resampled prompts."""

    samples: int = key(1000, ge=100, le=100_000)
    """Number of resamples."""
    level: float = key(0.95, gt=0, lt=1)
    """Confidence level."""
    seed: Seed = key(lambda: DEFAULT_SEED, otherwise="`seed` of the top level")
    """Seed of the resampling."""


class Stability(Section, json_schema_extra=reruns("tables")):
    """How circuits are compared over training, and their sizes between models."""

    alpha: float = key(0.5, gt=0, le=1)
    """Weight of the newest step in the exponentially weighted mean of consecutive overlaps."""
    reference_step: int | None = key(None, ge=0)
    """Training step whose circuit is compared with those of all other steps; every model must have
    circuits at this step. null takes the last step of each model."""
    min_step: int = key(1, ge=0, le=1_000_000)
    """First training step that is compared and included in mean circuit sizes."""


def _without_number(device: Any) -> Any:
    """Say where the number of a GPU belongs."""
    if re.fullmatch("cuda:[0-9]+", str(device)):
        number = device.removeprefix("cuda:")
        raise rule_error(
            f"= '{device}' must be cpu or cuda; to choose a GPU, set compute.gpus: [{number}]."
        )
    return device


Gpus = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    Field(strict=False, min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
]
JobsPerGpu = Annotated[int, Field(ge=1, le=16)]


class Compute(Section, json_schema_extra=reruns("activations")):
    """Where and how models run during the analysis."""

    device: Annotated[Literal["cpu", "cuda"], BeforeValidator(_without_number)] = "cpu"
    """Device that models run on; cuda is a GPU."""
    gpus: Annotated[Literal["all"] | Gpus, OneError] = key(
        "all",
        reruns="nothing",
        allowed="all, or a list of different numbers of GPUs, each at least 0",
    )
    """For cuda: GPUs of this machine to use. They are numbered as `nvidia-smi` does, or by their
    place in CUDA_VISIBLE_DEVICES where that is set. A Slurm job has one GPU instead."""
    jobs_per_gpu: Annotated[Literal["auto"] | JobsPerGpu, OneError] = key(
        "auto",
        reruns="nothing",
        allowed="auto, or a whole number, at least 1 and at most 16",
    )
    """For cuda: jobs that share a GPU of this machine, each with an equal share of its memory. auto
    takes as many as fit with the largest model, up to 4. A Slurm job does not share its GPU."""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """Number format of weights and arithmetic."""
    matmul: Literal["highest", "tf32"] = "highest"
    """How float32 numbers are multiplied on a GPU: in full precision (highest), or rounded to
    TensorFloat-32, with 10 bits after the leading one (tf32), which is faster."""
    batch_size: int | None = key(None, ge=1, le=100_000)
    """Prompts per forward pass. null takes as many as fit into memory_mb."""
    memory_mb: int | None = key(None, ge=1, le=10_000_000)
    """Memory for the activations of a forward pass, in MB. null takes 500 MB on a CPU and most of
    what a job's share of a GPU leaves. A prompt that needs more than the number given is refused.
    """
    threads: int = key(1, ge=1, le=128)
    """CPU threads per job."""
    tasks_per_job: Literal["all", 1] = key(
        "all", allowed="all or 1", reruns="activations; circuits are kept"
    )
    """Tasks that one job runs a model on: all in turn, so that it is loaded once, or 1, so that
    tasks run side by side and a new task runs nothing but itself. The files are the same."""


class Compare(Section, json_schema_extra=reruns("tables and figures of published results")):
    """Results of others that this run is held beside."""

    published: PathText | None = key(None, min_length=1, allowed="a path")
    """Clone of the paper's repository (github.com/curt-tigges/circuits-over-time), after `git lfs
    pull`. Its results are drawn in figures of their own, and compared with those of this run.
    Cannot be combined with circuits.level: node."""


class Figures(Section, json_schema_extra=reruns("figures")):
    """How figures are drawn."""

    min_step: int = key(1, ge=1, le=1_000_000)
    """First training step on logarithmic axes, which cannot show step 0."""


Pair = Annotated[
    tuple[Step, ...],
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

    steps: Steps | None = key(None, allowed="a list of steps, or null")
    """Training steps that exchange circuits, in ascending order; every model must have circuits at
    these steps. null takes all analysed steps. Downloaded checkpoints of these steps stay on disk
    until the transfer is done, so list only a few steps of large models."""
    random_circuits: int = key(2, ge=0, le=100)
    """Number of random circuits of the same size that are run beside each circuit, as a control; 0
    for none."""


class Swaps(Section, json_schema_extra=reruns("swaps")):
    """Heads of one training step run in the model of another."""

    pairs: tuple[Pair, ...] | None = key(
        None, allowed="a list of pairs [source, target] of two steps, or null", strict=False
    )
    """Pairs [source, target] of training steps: the source lends heads to the target. Every model
    must have circuits at both. null takes the last of transfer.steps as the source for each of the
    others."""
    random_sets: int = key(3, ge=0, le=100)
    """Number of random head sets of the same size, as a baseline; 0 for none."""
