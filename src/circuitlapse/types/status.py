"""Whether a result is defined, and if not, why: the words in the columns `status` of tables."""

from __future__ import annotations

from enum import StrEnum


class CheckpointStatus(StrEnum):
    """Whether a checkpoint holds the weights of its own training step."""

    OK = "ok"
    """Nothing speaks against it."""
    SUSPECT = "suspect"
    """Some of its weights are those of another step, all are those of another model, or it is
    closer to the last step than to its neighbours. It is analysed, and marked."""
    DUPLICATE = "duplicate"
    """All of its weights are those of a later step."""
    NO_WEIGHTS = "no_weights"
    """The revision has no file with weights."""


LEFT_OUT = (CheckpointStatus.DUPLICATE, CheckpointStatus.NO_WEIGHTS)
"""Checkpoints that say nothing about their step."""


class Status(StrEnum):
    """Result of the search for a small faithful circuit."""

    OK = "ok"
    """A faithful circuit."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, or does it on corrupted prompts too: no circuit."""
    OVERSHOOT = "overshoot"
    """A circuit passes the threshold, but exceeds the metric of the model by over 20 %."""
    NOT_REACHED = "not_reached"
    """No circuit up to the cap passes the threshold; the one at the cap is reported."""
    TOO_FEW_PROMPTS = "too_few_prompts"
    """A half has fewer than `MIN_PROMPTS` groups of prompts, so it was not searched."""
    DUPLICATE = "duplicate"
    """The checkpoint has the weights of a later step."""
    NO_WEIGHTS = "no_weights"
    """The checkpoint has no weights."""


class HeldOutStatus(StrEnum):
    """Whether there are held-out numbers: circuits of one half, run on the other half."""

    OK = "ok"
    """Both halves have a circuit."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, or not on one of the halves."""
    TOO_FEW_PROMPTS = "too_few_prompts"
    """A half has fewer than `MIN_PROMPTS` groups of prompts."""
    NO_HALVES = "no_halves"
    """Circuits of halves were not asked for."""


class CertificateStatus(StrEnum):
    """Whether a circuit has certificates: tests on prompts that its edges were not chosen by."""

    OK = "ok"
    """The circuits of both halves were tested."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, or not on one of the halves."""
    TOO_FEW_PROMPTS = "too_few_prompts"
    """A half has fewer than `MIN_PROMPTS` groups of prompts."""
    NO_HALVES = "no_halves"
    """Circuits of halves were not asked for."""
    OFF = "off"
    """Certificates were not asked for."""


class TransferStatus(StrEnum):
    """Result of running a circuit in the model of another step, or on another task."""

    OK = "ok"
    """The circuit was run, and the model does the task."""
    NO_CIRCUIT = "no_circuit"
    """There is no circuit at the source step or task."""
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, so faithfulness is not defined."""


class ScoreStatus(StrEnum):
    """Whether a score is defined, and if not, why."""

    OK = "ok"
    NO_TOKENS = "no_tokens"
    """The tokenizer lacks the words that the score is about."""
    NO_EFFECT = "no_effect"
    """Ablating the head changes nothing, so no share of its effect is defined."""
    NO_NAME_MOVERS = "no_name_movers"
    """There are no name movers, whose queries the test changes."""
    NO_PROMPTS = "no_prompts"
    """The score needs IOI prompts, and there is no IOI task."""
    NO_TEXT = "no_text"
    """The score needs running text, and there is none."""
    SKIPPED = "skipped"
    """The score is not computed in this layer."""


class EmergenceStatus(StrEnum):
    """Whether a curve over training has a half level, and if not, why."""

    OK = "ok"
    TOO_FEW_STEPS = "too_few_steps"
    """There are fewer than two steps with a level."""
    AT_CHANCE = "at_chance"
    """The score of no head is above chance at any step."""
    NO_RISE = "no_rise"
    """The level at the last step is not above that at the first one beyond its interval."""


class AlgorithmStatus(StrEnum):
    """Whether a number of the IOI algorithm is defined; if not, the first reason that applies."""

    OK = "ok"
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, as `does_the_task` says with its own threshold of 1."""
    NO_NAME_MOVERS = "no_name_movers"
    """No head is a name mover, so there are no queries to patch."""
    NO_CIRCUIT = "no_circuit"
    """The number is about the heads of the circuit, and there is none."""
    NO_S2I_HEADS = "no_s2i_heads"
    """The only S-inhibition heads, if any, also suppress copies."""
    NO_EFFECT = "no_effect"
    """No head has an effect beyond noise, so that the share is 0 / 0."""
    SMALL_TOTAL = "small_total"
    """All effects together are below `algorithm.min_total`, so that a share of them says little."""


class RoleGraphStatus(StrEnum):
    """Whether an edge of the role graph is measured; if not, the first reason that applies."""

    OK = "ok"
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task."""
    NO_SOURCE = "no_source"
    """No head has the role that the edge starts from."""
    NO_TARGET = "no_target"
    """No head has the role that the edge leads to."""
    NO_PATH = "no_path"
    """No head of the target is in a later layer than one of the source."""


class TurnoverStatus(StrEnum):
    """Whether the heads of a role are compared between two steps; if not, why."""

    OK = "ok"
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task at one of the steps."""
    NOT_MEASURED = "not_measured"
    """At one of the steps the role is not known: the heads that it writes to do not exist."""
    NO_HEADS = "no_heads"
    """No head has the role at either step."""


class HandOverStatus(StrEnum):
    """Whether turnover and self-repair of a role are correlated over steps; if not, why."""

    OK = "ok"
    TOO_FEW_STEPS = "too_few_steps"
    """Both are known at fewer than three steps."""
    CONSTANT = "constant"
    """One of them is the same at all steps."""


class SelfRepairStatus(StrEnum):
    """Whether it is known how much of an effect is repaired; if not, the first reason."""

    OK = "ok"
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task."""
    NO_HEADS = "no_heads"
    """No head has the role."""
    TOO_FEW_PROMPTS = "too_few_prompts"
    """Fewer than `MIN_PROMPTS` groups have another prompt of the same length."""
    NO_EFFECT = "no_effect"
    """The direct effect is below 1 % of the drop, or its interval contains 0: no share is taken."""


class SwapStatus(StrEnum):
    """Result of swapping a set of heads between two steps."""

    OK = "ok"
    """The heads were swapped."""
    NO_HEADS = "no_heads"
    """The set is empty at the source step."""
    OTHER_LAYERS = "other_layers"
    """Of a control: a layer of the set has too few other heads, so some come from other layers."""
    TOO_FEW_HEADS = "too_few_heads"
    """Of a control: the model has fewer other heads than the set has."""


class TrendStatus(StrEnum):
    """Whether a trend over models is defined, and if not, why."""

    OK = "ok"
    TOO_FEW_MODELS = "too_few_models"
    """A slope needs three models with a time, a mean lag two."""


class EvidenceStatus(StrEnum):
    """Whether a claim could be tested on a subject, and if not, why."""

    OK = "ok"
    TOO_FEW_MODELS = "too_few_models"
    """Fewer models than the test needs, or no difference between them."""
    TOO_FEW_STEPS = "too_few_steps"
    """Fewer than two steps have a value."""
    NO_ROLES = "no_roles"
    """No head has a role at any step."""
    NOTHING_TO_TEST = "nothing_to_test"
    """No subject could be tested."""


class ChangeStatus(StrEnum):
    """Whether the sources of a change are defined, and if not, why."""

    OK = "ok"
    NO_OVERLAP = "no_overlap"
    """Two of the circuits have nothing in common, or no parts, so that halvings are not defined."""
