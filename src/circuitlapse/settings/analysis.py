"""How models are analysed: one section per stage, with its keys and their defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from circuitlapse.settings.base import (
    DEFAULT_SEED,
    SEED,
    Lenient,
    PathText,
    Problem,
    Section,
    Steps,
    key,
    reruns,
)
from circuitlapse.types import IgRule, Method, Selection

if TYPE_CHECKING:  # a type checker cannot see which members there are
    FastMethod = Method
else:
    FastMethod = Literal[*(method for method in Method if method is not Method.EXACT)]


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
        "Largest circuit tried, as a fraction of the model's edges.", 0.5, gt=0, le=1
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
    random_circuits: int = key("Number of random edge rankings, as a baseline.", 3, ge=0, le=100)
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
        "Number of documents for the mean output of a head, which cspa uses.", 100, ge=1, le=10_000
    )
    n_positions: int = key(
        "Tokens read from each document; shorter documents are skipped.", 61, ge=2, le=256
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
        "Copy score above which a head can be a name mover, in percent.", 10.0, ge=0, le=100
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
        "Seed of the resampling.", lambda: DEFAULT_SEED, otherwise="`seed` of the top level", **SEED
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
        "First training step on logarithmic axes, which cannot show step 0.", 1, ge=1, le=1_000_000
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
        "Number of random head sets of the same size, as a baseline; 0 for none.", 3, ge=0, le=100
    )
