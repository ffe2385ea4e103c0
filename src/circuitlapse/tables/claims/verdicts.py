"""The table `claims`: evidence for each sentence, corrected p values, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from circuitlapse.schemas import CLAIMS as SCHEMA
from circuitlapse.statistics import corrected
from circuitlapse.tables.claims.registry import CLAIMS, EVERY_SUBJECT, Claim
from circuitlapse.types import SIGNIFICANCE, Verdict
from circuitlapse.types.status import EvidenceStatus

_NAN = float("nan")


@dataclass(frozen=True)
class Evidence:
    """What one subject says about a claim.

    Attributes:
        subject: a task, a component, or a part of one model.
        n: how much the value is over; see `Claim.counts`.
        value: what was measured.
        low: the lower end of its interval; NaN where there is none.
        high: the upper end.
        control: what it is held against; NaN where the control is a test.
        p_for: of "the claim is false": small if the claim holds; NaN where not tested.
        p_against: of "the claim is true": small if it does not hold.
        status: why the value is NaN.
    """

    subject: str
    n: int
    value: float = _NAN
    low: float = _NAN
    high: float = _NAN
    control: float = _NAN
    p_for: float = _NAN
    p_against: float = _NAN
    status: str = EvidenceStatus.OK


@dataclass(frozen=True)
class Given:
    """What claims are tested on: tables, by name, and settings.

    Attributes:
        originals: the models that are not variants of others.
        tasks: all tasks.
        threshold: faithfulness that the search asks for.
        min_step: the first step that counts where circuits are compared.
        seed: of permutations.
        level: confidence level of the intervals in the tables.
    """

    emergence_trends: pd.DataFrame
    circuit_summary: pd.DataFrame
    behaviour: pd.DataFrame
    size_correlation: pd.DataFrame
    stability: pd.DataFrame
    algorithm_consistency: pd.DataFrame
    turnover: pd.DataFrame
    role_graph: pd.DataFrame
    originals: Sequence[str]
    tasks: Sequence[str]
    threshold: float
    min_step: int
    seed: int
    level: float

    @property
    def n_parameters(self) -> pd.Series[int]:
        """The number of parameters of every model."""
        return self.behaviour.groupby("model")["n_parameters"].first()


def claims_table(*, bootstrap: Mapping[str, Any], **given: Any) -> pd.DataFrame:
    """Make the table `claims`: a row per claim and subject, and one that sums up each claim.

    The p values of all subjects of a claim are a family: they are corrected for their number as
    Benjamini and Hochberg do. A subject supports the claim if the corrected p value of its
    negation is at most `SIGNIFICANCE`, and contradicts it if that of the claim is. A sentence is
    about all subjects. So it is contradicted if one contradicts it, and supported if all that could
    be tested support it.

    Args:
        bootstrap: a section `Bootstrap` of the configuration, for the level of intervals.
        given: the other fields of `Given`.
    """
    source = Given(**given, level=bootstrap["level"])
    rows = [row for name, claim in CLAIMS.items() for row in _rows(name, claim, source)]
    return SCHEMA.cast(pd.DataFrame(rows, columns=[*SCHEMA.columns]))


def _rows(name: str, claim: Claim, given: Given) -> Iterator[dict[str, Any]]:
    found = list(claim.function()(given))
    said = {"claim": name} | {key: getattr(claim, key) for key in ("sentence", "measured", "unit")}
    said |= {"controlled_by": claim.control, "counts": claim.counts}
    q_for, q_against = (
        corrected(np.array([getattr(one, p) for one in found], dtype=float))
        for p in ("p_for", "p_against")
    )
    single = [
        said | asdict(one) | {"q_for": pro, "q_against": con, "verdict": verdict_of(pro, con)}
        for one, pro, con in zip(found, q_for, q_against, strict=True)
    ]
    yield said | summed_up(single)
    yield from single


def verdict_of(q_for: float, q_against: float) -> Verdict:
    """Return what corrected p values say; the smaller one if both are small."""
    if min(pair := [_known(q_for), _known(q_against)]) > SIGNIFICANCE:
        return Verdict.CANNOT_TELL
    return Verdict.SUPPORTED if pair[0] < pair[1] else Verdict.CONTRADICTED


def summed_up(rows: Collection[dict[str, Any]]) -> dict[str, Any]:
    """Return the row about all subjects of a claim.

    Its corrected p values are the largest in favour and the smallest against. Subjects without
    any p value do not count; n is the number of those that do.
    """
    tested = [
        row for row in rows if not math.isnan(row["q_for"]) or not math.isnan(row["q_against"])
    ]
    row: dict[str, Any] = {"subject": EVERY_SUBJECT, "n": len(tested), "status": EvidenceStatus.OK}
    if not tested:
        status = EvidenceStatus.NOTHING_TO_TEST
        return row | {"status": status, "verdict": Verdict.CANNOT_TELL}
    verdicts = {one["verdict"] for one in tested}
    row["q_for"] = max(_known(one["q_for"]) for one in tested)
    row["q_against"] = float(np.fmin.reduce([one["q_against"] for one in tested]))
    if Verdict.CONTRADICTED in verdicts:
        return row | {"verdict": Verdict.CONTRADICTED}
    only = verdicts == {Verdict.SUPPORTED}
    return row | {"verdict": Verdict.SUPPORTED if only else Verdict.CANNOT_TELL}


def _known(p: float) -> float:
    """Return a p value, 1 where there is none."""
    return 1.0 if math.isnan(p) else p
