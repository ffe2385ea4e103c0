"""The keys that say how models are analysed."""

from __future__ import annotations

from typing import Literal

from circuitlapse.config.fields import Section, key
from circuitlapse.types import IgRule, Method, Selection

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
