"""Evidence on when tasks and components emerge, from the table `emergence_trends`.

A claim of similarity is supported by two one-sided tests: no interval that just contains 0 is.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from circuitlapse.tables.claims.verdicts import Evidence, Given
from circuitlapse.types import Trend
from circuitlapse.types.status import EvidenceStatus, TrendStatus

_STATUS = {
    TrendStatus.OK: EvidenceStatus.OK,
    TrendStatus.TOO_FEW_MODELS: EvidenceStatus.TOO_FEW_MODELS,
}


def across_sizes(given: Given) -> Iterator[Evidence]:
    """Yield the slope over sizes of each task and component."""
    yield from _evidence(given.emergence_trends, Trend.SLOPE)


def together(given: Given) -> Iterator[Evidence]:
    """Yield the lag of each component behind the task that it is known from."""
    yield from _evidence(given.emergence_trends, Trend.LAG)


def _evidence(trends: pd.DataFrame, trend: Trend) -> Iterator[Evidence]:
    for row in trends[trends["trend"] == trend].to_dict("records"):
        yield Evidence(
            subject=row["name"],
            n=row["n"],
            value=row["value"],
            low=row["low"],
            high=row["high"],
            control=row["margin"],
            p_for=row["p_similar"],
            p_against=row["p_different"],
            status=_STATUS[TrendStatus(row["status"])],
        )
