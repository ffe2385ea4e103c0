"""The vocabulary: names that appear in configuration, tables and the public API."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MIN_PROMPTS = 10
"""So many prompt pairs a task has at least; fewer say too little about a model."""


class Metric(StrEnum):
    """How well a model does a task, per prompt: larger is better, save for `kl_divergence`."""

    LOGIT_DIFF = "logit_diff"
    """Mean logit of the correct answers minus mean logit of the wrong ones. Unbounded."""
    PROB_DIFF = "prob_diff"
    """Probability of the correct answers minus probability of the wrong ones. In [-1, 1]."""
    KL_DIVERGENCE = "kl_divergence"
    """KL(clean model || this one) of the next token, in nats; 0 is best, and no task's metric."""


class Method(StrEnum):
    """How an edge is scored (arXiv 2403.17806, arXiv 2310.10348)."""

    EAP = "eap"
    """Edge attribution patching: the gradient at the clean input."""
    EAP_IG_INPUTS = "eap_ig_inputs"
    """The gradient averaged along the line from the corrupted to the clean embedding."""
    EAP_IG_ACTIVATIONS = "eap_ig_activations"
    """The gradient averaged while the edge's own source goes from corrupted to clean."""
    EAP_IG_ACTIVATIONS_POOLED = "eap_ig_activations_pooled"
    """The same, but averaged over the runs of all sources, as the reference library does."""
    CLEAN_CORRUPTED = "clean_corrupted"
    """The mean of the gradients at the clean and at the corrupted input."""
    EXACT = "exact"
    """The change of the metric when one edge alone is patched. One pass per edge."""


class Ablation(StrEnum):
    """What an edge outside the circuit carries."""

    CORRUPTED = "corrupted"
    """What its source writes on the corrupted prompt."""
    ZERO = "zero"
    """Nothing."""
    MEAN = "mean"
    """The mean output of its source over the task's clean prompts and their positions."""


class IgRule(StrEnum):
    """Where the points of an integration path lie."""

    LEFT = "left"
    """Of the way from corrupted to clean 0, 1/m, ..., (m-1)/m for `eap_ig_inputs`, but 1/m, ..., 1
    where activations are interpolated, as the reference does."""
    MIDPOINT = "midpoint"
    """(k + 1/2)/m; the error shrinks faster with m."""


class Selection(StrEnum):
    """How edges are put in order."""

    GREEDY = "greedy"
    """Grow from the logits: best edge into a node that is already in, again and again."""
    TOP_N = "top_n"
    """Largest |score| first, wherever the edge lies."""


class Ranking(StrEnum):
    """What puts edges in order where circuits of fixed sizes are compared."""

    SIGNED = "signed"
    """The score; edges that work against the behaviour come last."""
    ABSOLUTE = "absolute"
    """The size of the score, whatever its sign."""
    RANDOM = "random"
    """Chance, as a control."""


class Status(StrEnum):
    """What the search for the smallest faithful circuit found."""

    OK = "ok"
    """A faithful circuit."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, or not by what corruption takes away: no circuit."""
    OVERSHOOT = "overshoot"
    """A circuit passes the threshold, but does the task better than the model by over 20 %."""
    NOT_REACHED = "not_reached"
    """No circuit up to the cap passes the threshold; the one at the cap is reported."""
    TOO_FEW_PROMPTS = "too_few_prompts"
    """Said of half of the prompts only: they are fewer than `MIN_PROMPTS`, and not searched."""


class Comparison(StrEnum):
    """Which two circuits of one model are compared."""

    CONSECUTIVE = "consecutive"
    """Those of two neighbouring steps of the schedule that the models share."""
    REFERENCE = "reference"
    """That of each step with that of the reference step."""
    HALVES = "halves"
    """Those found on two halves of the prompts at one step: the noise floor."""


class Level(StrEnum):
    """What a circuit is taken as a set of."""

    EDGE = "edge"
    NODE = "node"


class Weighting(StrEnum):
    """How much each edge or node of a circuit counts."""

    NONE = "none"
    """All alike."""
    ABS = "abs"
    """By its share of the circuit's summed |score|."""


class TransferStatus(StrEnum):
    """What became of a circuit in the model of another step, or on another task."""

    OK = "ok"
    """It was run, and the model does the task."""
    NO_CIRCUIT = "no_circuit"
    """No circuit was found where it should come from."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, so there is nothing to be faithful to."""


class SwapStatus(StrEnum):
    """What became of a set of heads that another step lends to a model."""

    OK = "ok"
    """They were swapped."""
    NO_HEADS = "no_heads"
    """No head of the source is known to belong to the set."""


class HeadSet(StrEnum):
    """Which heads one step lends to another, by what they are at the source step."""

    CIRCUIT = "circuit"
    """All heads of the task's circuit."""
    NAME_MOVERS = "name_movers"
    """IOI: name movers."""
    NAME_MOVERS_CS = "name_movers_cs"
    """IOI: the same and negative name movers, and heads of copy suppression of either sign."""
    S2I = "s2i"
    """IOI: S-inhibition heads."""
    INDUCTION_DUPLICATE = "induction_duplicate"
    """IOI: induction and duplicate-token heads."""
    INDUCTION_SUCCESSOR = "induction_successor"
    """Greater-Than: heads of the circuit with an induction score above the mean of all heads, or
    a succession score above 0.4."""


RANDOM_LIKE = "random_like_"
"""Before the name of a set of heads: as many heads drawn at random, the control."""

NAME_ROLES = ("io", "s1", "s2")
"""In IOI prompts: the indirect object, and the first and second mention of the subject."""

TELLING = "same_opposite"
"""The flip of names whose signs tell an S-inhibition head: same token, other position."""


class MetricFacts(NamedTuple):
    """What is known of a metric; `models.metrics` computes it."""

    title: str
    """Its name in figures."""
    unit: str
    chance: float | None
    """A mean that untrained models reach too; None if the metric is none of a task."""


METRIC_FACTS = {
    Metric.LOGIT_DIFF: MetricFacts("Logit difference", "logits", 0.1),
    Metric.PROB_DIFF: MetricFacts("Probability difference", "probability", 0.01),
    Metric.KL_DIVERGENCE: MetricFacts("KL divergence", "nats", None),
}
CHANCE = {metric: chance for metric, (_, _, chance) in METRIC_FACTS.items() if chance is not None}
"""Metrics of tasks -> the mean below which a model does not do the task."""
TASK_METRICS = tuple(CHANCE)
"""Those that say how well a task is done."""
