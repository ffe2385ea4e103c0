"""What tracing the IOI algorithm takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.schemas import ALGORITHM_CONSISTENCY, GT_ALGORITHM, HEAD_SCORES, ROLES, S2I
from circuitlapse.schemas.base import WHERE

OWN = {
    "effects": HEAD_SCORES,
    **{
        name: schema.without(*WHERE, "task")
        for name, schema in (
            ("s2i", S2I),
            ("roles", ROLES),
            ("consistency", ALGORITHM_CONSISTENCY),
            ("gt_algorithm", GT_ALGORITHM),
        )
    },
}
"""The tables of one model at one step, without the columns that say which."""


class AlgorithmStatus(StrEnum):
    """Whether a number means something; of several reasons against it, the first one here."""

    OK = "ok"
    NO_BEHAVIOUR = "no_behaviour"
    """The model does not do the task, as `does_the_task` says with its own threshold of 1."""
    NO_NAME_MOVERS = "no_name_movers"
    """There are no heads whose queries could be listened to."""
    NO_CIRCUIT = "no_circuit"
    """It is about heads with an edge in the circuit, and there is no circuit."""
    NO_S2I_HEADS = "no_s2i_heads"
    """There is no S-inhibition head, besides those of copy suppression."""
    NO_EFFECT = "no_effect"
    """No head has an effect, so that no share of it is defined."""


@dataclass(frozen=True)
class Thresholds:
    """What makes a head a part of the algorithm; the defaults are the paper's.

    Attributes:
        min_copy: a name mover has a copy score above this (0..100).
        min_cspa: a copy-suppression head has a score above this.
        max_effect: an S-inhibition, induction or duplicate-token head has an effect below this.
    """

    min_copy: float = 10.0
    min_cspa: float = 0.10
    max_effect: float = -0.001


@dataclass(frozen=True, eq=False)
class Effects:
    """What corrupting the path from each head does; heads are in the order of their layers.

    Attributes:
        change: logit difference with the path corrupted, minus the clean one.
        span: the clean logit difference minus that on the corrupted prompt.
    """

    change: Float[ndarray, "head prompt"]
    span: Float[ndarray, " prompt"]

    @property
    def mean(self) -> Float[ndarray, " head"]:
        """Mean change over mean span: 0 is no harm, -1 a fall to the corrupted level."""
        return np.asarray(self.change.mean(1) / self.span.mean())


@dataclass(frozen=True, eq=False)
class Panel:
    """One step of the algorithm.

    Attributes:
        name: in the table `algorithm_consistency`.
        score: name of its effects in the table of heads.
        effects: None where they are not defined.
        roles: role -> the heads that have it; empty where they are not known.
        status: why effects or roles are missing.
    """

    name: str
    score: str
    effects: Effects | None
    roles: Mapping[str, Bool[ndarray, " head"]]
    status: AlgorithmStatus = AlgorithmStatus.OK

    @property
    def heads(self) -> Bool[ndarray, " head"]:
        """The heads with any of the roles."""
        return np.asarray(np.logical_or.reduce(list(self.roles.values())))


@dataclass(frozen=True, eq=False)
class IoiAlgorithm:
    """The tables of one model at one step, without the columns that say which.

    Attributes:
        effects: rows of `HEAD_SCORES`, for `e_logits`, `e_nm_q` and `e_s2i_v`.
        s2i: as in `S2I`.
        roles: as in `ROLES`.
        consistency: as in `ALGORITHM_CONSISTENCY`.
    """

    effects: pd.DataFrame
    s2i: pd.DataFrame
    roles: pd.DataFrame
    consistency: pd.DataFrame

    def __post_init__(self) -> None:
        """Check that the frames follow their schemas."""
        for field in fields(self):
            OWN[field.name].check(getattr(self, field.name), where=field.name)
