"""What two circuits of one model and task have in common, as rows of the table `stability`."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.overlap import MEASURES, Parts, RandomCircuits, overlaps, parts_of
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.graph import Graph
from circuitlapse.statistics import spearman
from circuitlapse.types import MIN_SPLITS, Level, Weighting
from circuitlapse.types.status import Status

FLOOR_QUANTILE = 0.05
"""A change is reported where the overlap is below this quantile of the splits' overlaps."""
MOST_RANKED = 20_000
"""Edges whose scores are correlated: all of a small model, this many at random of a larger one."""

_WITHOUT_CIRCUIT = (Status.NO_BEHAVIOUR, Status.TOO_FEW_PROMPTS)
_MEASURED = tuple(product(Level, Weighting))
"""What each row is about."""

Row = dict[str, Any]
_Floor = Float[ndarray, "level weighting"]


class AtStep(NamedTuple):
    """What is kept of a record.

    Attributes:
        tokens: seen in training so far.
        circuit: as found; None if there is none.
        matched: the first edges of the order, as many as are compared, pruned.
        scores: |score| of the edges that are ranked.
        floor_median: of the overlaps of the splits at the size that is compared.
        floor_low: their quantile.
        halves: the rows that compare the two halves of the prompts.
    """

    tokens: int
    circuit: Parts | None
    matched: Parts | None
    scores: Float[ndarray, " edge"]
    floor_median: _Floor
    floor_low: _Floor
    halves: list[Row]


def at_step(record: CircuitRecord, graph: Graph, size: int | None) -> AtStep:
    """Return what is kept of a record.

    Args:
        record: of one step.
        graph: of the record.
        size: edges of the circuits that are compared; None if there is no circuit at this step.
    """
    scores = _ranked(graph, record.scores)
    if size is None:
        unknown = np.full((len(Level), len(Weighting)), np.nan)
        return AtStep(record.tokens, None, None, scores, unknown, unknown, _found(None, None))
    matched = Circuit(graph, (record.order >= 0) & (record.order < size)).pruned()
    median, low = noise_floor(record, size)
    return AtStep(
        record.tokens,
        circuit=parts_of(Circuit(graph, record.in_circuit), record.scores),
        matched=parts_of(matched, record.scores),
        scores=scores,
        floor_median=median,
        floor_low=low,
        halves=_halves(record, graph, size, median=median, low=low),
    )


def noise_floor(record: CircuitRecord, size: int) -> tuple[_Floor, _Floor]:
    """Return the median and the low quantile of the splits' overlaps of circuits of one size.

    The quantile is that of Weibull: a further overlap with the same distribution is below it in
    5 % of all cases. Both are NaN with fewer than 19 overlaps, of which 5 % is less than one.
    """
    unknown = np.full((len(Level), len(Weighting)), np.nan)
    at = np.flatnonzero(record.split_sizes == size)
    if not len(at):
        return unknown, unknown
    overlap = record.split_overlap[:, at[0]].astype(np.float64)  # [split, level, weighting]
    enough = (~np.isnan(overlap)).sum(0) >= MIN_SPLITS - 1
    overlap = np.where(enough, overlap, 0.0)
    low = np.nanquantile(overlap, FLOOR_QUANTILE, axis=0, method="weibull")
    return np.where(enough, np.nanmedian(overlap, 0), unknown), np.where(enough, low, unknown)


def compare_steps(
    one: AtStep, other: AtStep, *, size: int | None, random: RandomCircuits
) -> list[Row]:
    """Compare two steps: their circuits as found, and those of one size against the noise floor.

    Args:
        one: the step of the rows.
        other: the other step.
        size: edges of the circuits that are compared.
        random: circuits of the same graph, for the overlap by chance.
    """
    rows = _found(one.circuit, other.circuit)
    if one.matched is None or other.matched is None:
        return rows
    n_edges = [len(step.matched.edge.part) for step in (one, other) if step.matched]
    correlation = spearman(one.scores, other.scores)
    measured = zip(
        rows,
        _MEASURED,
        overlaps(one.matched, other.matched).ravel(),
        np.minimum(one.floor_median, other.floor_median).ravel(),
        np.minimum(one.floor_low, other.floor_low).ravel(),
        strict=True,
    )
    for row, (level, weighting), overlap, median, low in measured:
        # Scores of random circuits would be made up, so that only their edges are compared.
        chance = random.expected(level, *n_edges) if weighting == Weighting.NONE else float("nan")
        row |= {
            "size_matched": size,
            "jaccard_matched": overlap,
            "jaccard_chance": chance,
            "jaccard_corrected": _corrected(overlap, chance),
            "rank_correlation": correlation,
            "floor_median": median,
            "floor_low": low,
            "changed": pd.NA if np.isnan([overlap, low]).any() else _is_below(overlap, low),
        }
    return rows


def _is_below(overlap: float, floor: float) -> bool:
    """Return whether an overlap is below the floor, in float32: the splits' overlaps are so stored.

    Otherwise 3/5 would be below a floor of 3/5, which is stored as 0.60000002.
    """
    return bool(np.float32(overlap) < np.float32(floor))


def _corrected(overlap: float, chance: float) -> float:
    """Return the share of what chance leaves: 0 as by chance, 1 for the same circuit."""
    return (overlap - chance) / (1 - chance) if chance < 1 else float("nan")


def _halves(
    record: CircuitRecord, graph: Graph, size: int, *, median: _Floor, low: _Floor
) -> list[Row]:
    """Compare the two halves that were searched, and add the noise floor of all splits."""
    parts: list[Parts | None] = [
        None if status in _WITHOUT_CIRCUIT else parts_of(Circuit(graph, mask), scores)
        for mask, scores, status in zip(
            record.half_in_circuit, record.half_scores, record.half_status, strict=True
        )
    ] or [None, None]
    ranked = [_ranked(graph, scores) for scores in record.half_scores]
    known = len(ranked) > 0 and not np.isnan(ranked).any()
    own = {
        "size_matched": size,
        "rank_correlation": spearman(*ranked) if known else float("nan"),
    }
    floors = zip(_found(*parts), median.ravel(), low.ravel(), strict=True)
    return [
        row | own | {"floor_median": middle, "floor_low": lowest} for row, middle, lowest in floors
    ]


def _found(one: Parts | None, other: Parts | None) -> list[Row]:
    """Compare two circuits as they were found, a row per level and weighting.

    NaN if a circuit is missing; so is all that is said of circuits of one size.
    """
    rows = []
    for level, weighting in _MEASURED:
        a, b = (None if parts is None else getattr(parts, level) for parts in (one, other))
        row: Row = dict.fromkeys(
            ("jaccard_matched", "jaccard_chance", "jaccard_corrected", "rank_correlation"),
            float("nan"),
        )
        row |= dict.fromkeys(("floor_median", "floor_low"), float("nan"))
        row |= {"size_matched": pd.NA, "changed": pd.NA}
        rows.append(
            row
            | {
                "level": level.value,
                "weighting": weighting.value,
                "jaccard": float("nan") if a is None or b is None else MEASURES[weighting](a, b),
                "size": pd.NA if a is None else len(a.part),
                "size_next": pd.NA if b is None else len(b.part),
            }
        )
    return rows


def _ranked(graph: Graph, scores: Float[ndarray, "source target"]) -> Float[ndarray, " edge"]:
    values = np.abs(scores[graph.exists])
    if len(values) > MOST_RANKED:
        values = np.random.default_rng(0).choice(values, MOST_RANKED, replace=False)
    return np.asarray(values.astype(np.float32))
