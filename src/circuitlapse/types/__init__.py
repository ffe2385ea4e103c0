"""Names that appear in the configuration, in tables and in the public API."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MIN_PROMPTS = 10
"""Minimum number of prompt pairs of a task; fewer say too little about a model."""

MIN_SPLITS = 20
"""Minimum number of random splits of the prompts; fewer say nothing of the lowest 5 %."""

N_SUBSETS = 4
"""Number of random subsets of the nodes of a circuit that are taken from it and from the model."""

N_REFERENCES = 99
"""Number of random paths that inflate a circuit in the test of minimality: no p is below 0.01."""


class Metric(StrEnum):
    """Score of a prompt; larger is better, except for `kl_divergence`."""

    LOGIT_DIFF = "logit_diff"
    """Mean logit of the correct answers minus mean logit of the wrong ones. Unbounded."""
    PROB_DIFF = "prob_diff"
    """Probability of the correct answers minus probability of the wrong ones. In [-1, 1]."""
    KL_DIVERGENCE = "kl_divergence"
    """KL(clean model || this one) of the next token, in nats; 0 is best. Not a metric of tasks."""


class Method(StrEnum):
    """How an edge is scored (arXiv 2403.17806, 2310.10348, 2403.00745)."""

    EAP = "eap"
    """Edge attribution patching: the gradient at the clean input."""
    EAP_IG_INPUTS = "eap_ig_inputs"
    """The gradient averaged along the line from the corrupted to the clean embedding."""
    EAP_IG_ACTIVATIONS = "eap_ig_activations"
    """The gradient averaged while the source of the edge is moved from corrupted to clean."""
    EAP_IG_ACTIVATIONS_POOLED = "eap_ig_activations_pooled"
    """The same, but averaged over the runs of all sources, as the reference library does."""
    CLEAN_CORRUPTED = "clean_corrupted"
    """The mean of the gradients at the clean and at the corrupted input."""
    EAP_QK = "eap_qk"
    """`eap` with the exact change of attention for edges into queries and keys, as in AtP*."""
    EXACT = "exact"
    """The change of the metric when one edge alone is patched. One pass per edge."""


class Ablation(StrEnum):
    """The value that an edge outside the circuit carries."""

    CORRUPTED = "corrupted"
    """The output of its source on the corrupted prompt."""
    ZERO = "zero"
    """Zero."""
    MEAN = "mean"
    """The mean output of its source over the task's clean prompts, at the same position."""


class IgRule(StrEnum):
    """The points of an integration path of m intervals, as fractions from corrupted to clean."""

    LEFT = "left"
    """0, 1/m, ..., (m-1)/m for `eap_ig_inputs`, and 1/m, ..., 1 where activations are interpolated,
    as in the reference implementation."""
    MIDPOINT = "midpoint"
    """(k + 1/2)/m; the error falls like 1/m^2, that of `left` like 1/m."""
    TRAPEZOID = "trapezoid"
    """0, 1/m, ..., 1, where both ends count half: one gradient more than the others. The error
    falls like 1/m^2 too, and is about twice that of `midpoint`."""


class Faithfulness(StrEnum):
    """Which faithfulness of a circuit has to reach the threshold of the search."""

    RAW = "raw"
    """Its metric over that of the model. Without edges it is what corrupted prompts keep."""
    NORMALISED = "normalised"
    """The same, rescaled so that the corrupted prompts, and a circuit without edges, are at 0."""


class Selection(StrEnum):
    """How edges are chosen for a circuit."""

    GREEDY = "greedy"
    """Grow backwards from the logits: repeatedly add the best edge into the circuit."""
    TOP_N = "top_n"
    """Largest |score| first, anywhere in the graph."""
    NODES = "nodes"
    """Node circuits: nodes with the largest |score| first, with all edges among them."""


class RoleRule(StrEnum):
    """How heads get their roles in the IOI algorithm."""

    CONTROLLED = "controlled"
    """A role needs a score well above chance, and for S-inhibition an effect beyond noise."""
    PAPER = "paper"
    """As in the implementation of arXiv 2407.10827."""


class Ranking(StrEnum):
    """How edges are ranked where circuits of fixed sizes are compared."""

    SIGNED = "signed"
    """The score; edges that work against the behaviour come last."""
    ABSOLUTE = "absolute"
    """The absolute score."""
    RANDOM = "random"
    """A random order, as a control."""


class Comparison(StrEnum):
    """Which two circuits of one model are compared."""

    CONSECUTIVE = "consecutive"
    """The circuits of two neighbouring steps of the schedule that the models share."""
    REFERENCE = "reference"
    """The circuit of each step and that of the reference step."""
    HALVES = "halves"
    """The circuits found on two halves of the prompts at one step: the noise floor."""


class Level(StrEnum):
    """The elements by which circuits are compared."""

    EDGE = "edge"
    NODE = "node"


class Weighting(StrEnum):
    """How much each edge or node of a circuit counts."""

    NONE = "none"
    """All equally."""
    ABS = "abs"
    """By its share of the circuit's summed |score|."""


class TransferControl(StrEnum):
    """Which circuits are run in a model: its own, or what they are compared with."""

    OWN = "own"
    """A circuit of the same model, at any step."""
    RANDOM = "random"
    """A random circuit of the size of such a circuit."""
    SEED = "seed"
    """A circuit of a model with other initial weights or other data, at the same step."""


class Kind(StrEnum):
    """What emerges."""

    TASK = "task"
    COMPONENT = "component"


SIGNIFICANCE = 0.05
"""A test is decided by a corrected p value up to this."""


class Verdict(StrEnum):
    """What this run says about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    CANNOT_TELL = "cannot tell"


class Trend(StrEnum):
    """What is compared of the times at which tasks and components emerge."""

    SLOPE = "slope"
    """How the time depends on the number of parameters."""
    LAG = "lag"
    """How much later a component emerges than a task."""


class EffectSign(StrEnum):
    """Which effects a share is about."""

    BOTH = "both"
    NEGATIVE = "negative"
    """Of heads whose corruption lowers the metric: they support the answer."""
    POSITIVE = "positive"
    """Of heads whose corruption raises the metric: they oppose the answer."""


class HeadSet(StrEnum):
    """Sets of heads that are swapped between steps, defined at the source step."""

    CIRCUIT = "circuit"
    """All heads of the task's circuit."""
    NAME_MOVERS = "name_movers"
    """IOI: name movers."""
    NAME_MOVERS_CS = "name_movers_cs"
    """IOI: name movers, negative name movers and copy-suppression heads of either sign."""
    S2I = "s2i"
    """IOI: S-inhibition heads."""
    INDUCTION_DUPLICATE = "induction_duplicate"
    """IOI: induction and duplicate-token heads."""
    INDUCTION_SUCCESSOR = "induction_successor"
    """Greater-Than: circuit heads with an induction score above the mean of all heads, or a
    succession score above 0.4."""


HEAD_SET_TITLES = {
    HeadSet.CIRCUIT: "all heads of the circuit",
    HeadSet.NAME_MOVERS: "name movers",
    HeadSet.NAME_MOVERS_CS: "name movers and copy suppression",
    HeadSet.S2I: "S-inhibition",
    HeadSet.INDUCTION_DUPLICATE: "induction and duplicate token",
    HeadSet.INDUCTION_SUCCESSOR: "induction and succession",
}
"""Sets of heads -> their names in figures."""

RANDOM_LIKE = "random_like_"
"""Prefix of a set of heads drawn at random, as many per layer as in the named set: the control."""


class Role(StrEnum):
    """What a head does in the IOI algorithm; `heads.algorithm` defines each role."""

    NAME_MOVER = "NM"
    NEGATIVE_NAME_MOVER = "NegNM"
    COPY_SUPPRESSION = "CS"
    NEGATIVE_COPY_SUPPRESSION = "NegCS"
    S_INHIBITION = "S2I"
    INDUCTION = "Ind"
    DUPLICATE_TOKEN = "Dup"


ROLE_TITLES = {
    Role.NAME_MOVER: "name mover",
    Role.NEGATIVE_NAME_MOVER: "negative name mover",
    Role.COPY_SUPPRESSION: "copy suppression",
    Role.NEGATIVE_COPY_SUPPRESSION: "copy suppression, harmful",
    Role.S_INHIBITION: "S-inhibition",
    Role.INDUCTION: "induction",
    Role.DUPLICATE_TOKEN: "duplicate token",
}
"""Roles -> their names in figures, in the order of legends."""

PREVIOUS_TOKEN, LOGITS = "Prev", "logits"
"""Nodes of the role graph beside the roles: heads by their score alone, and the end."""

NAME_ROLES = ("io", "s1", "s2")
"""In IOI prompts: the indirect object, and the first and second mention of the subject."""

S2I_SIGNALS = {"position": "same_opposite", "token": "opposite_same"}
"""What tells name movers which name is repeated -> the flip of names that turns this signal alone.

The position signal is where the repeated name stands first, the token signal which name it is.
"""


class MethodFacts(NamedTuple):
    """What is known of the cost of a method; `circuits.attribution` computes its scores."""

    passes: str
    """Number of passes, in words."""
    points: int | None = None
    """Points at which gradients are taken; None for those of an integration path, 0 for a method
    without any."""
    per_group: bool = False
    """Whether they are taken anew for the embedding, each layer's heads and each MLP."""
    per_source: float = 0.0
    """Forward passes for every source of the graph, beside those of gradients."""

    def n_gradients(self, *, ig_steps: int, ig_rule: str, n_layers: int) -> int:
        """Return the number of gradients, each of which costs a forward and a backward pass."""
        on_path = ig_steps + (ig_rule == IgRule.TRAPEZOID)  # both ends
        points = on_path if self.points is None else self.points
        return points * (1 + 2 * n_layers if self.per_group else 1)


METHOD_FACTS = {
    Method.EAP: MethodFacts("one", points=1),
    Method.EAP_IG_INPUTS: MethodFacts("`ig_steps`"),
    Method.EAP_IG_ACTIVATIONS: MethodFacts("`ig_steps` per group", per_group=True),
    Method.EAP_IG_ACTIVATIONS_POOLED: MethodFacts("the same", per_group=True),
    Method.CLEAN_CORRUPTED: MethodFacts("two", points=2),
    Method.EAP_QK: MethodFacts("one, and 1/16 per source", points=1, per_source=1 / 8),
    Method.EXACT: MethodFacts("one per edge", points=0),
}


class MetricFacts(NamedTuple):
    """What is known of a metric; `models.metrics` computes it."""

    title: str
    """Its name in figures."""
    unit: str
    chance: float | None
    """A mean that untrained models reach too; None for a metric that no task uses."""


METRIC_FACTS = {
    Metric.LOGIT_DIFF: MetricFacts("Logit difference", "logits", 0.1),
    Metric.PROB_DIFF: MetricFacts("Probability difference", "probability", 0.01),
    Metric.KL_DIVERGENCE: MetricFacts("KL divergence", "nats", None),
}
CHANCE = {metric: chance for metric, (_, _, chance) in METRIC_FACTS.items() if chance is not None}
"""Metrics of tasks -> the mean below which a model does not do the task."""
TASK_METRICS = tuple(CHANCE)
"""The metrics that say how well a task is done."""
