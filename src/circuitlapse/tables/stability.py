"""How stable circuits are: over training, and when they are found on other prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import STABILITY
from circuitlapse.settings import Stability
from circuitlapse.tables.circuits import in_order
from circuitlapse.tables.masking import SERIES
from circuitlapse.types import Comparison, Level, Status, Weighting

Shares = pd.Series
"""The share of each edge, or node, of a circuit; they add up to 1. The index says which it is."""


class Parts(NamedTuple):
    """The edges and the nodes of one circuit, each with its share.

    Attributes:
        edge: |score| over that of all edges of the circuit, by the place of the edge in the
            score matrix, row by row.
        node: the same of the edges that touch a head or an MLP, by its name. An edge counts for
            both of its ends. `input` and `logits` are left out: every circuit has them, so that
            with them any two circuits would have something in common.
    """

    edge: Shares
    node: Shares


def parts_of(
    record: CircuitRecord,
    in_circuit: Bool[ndarray, "source target"],
    scores: Float[ndarray, "source target"],
) -> Parts:
    """Return the parts of a circuit of the record's graph."""
    rows, columns = np.nonzero(in_circuit)
    weight = np.abs(scores[rows, columns]).astype(np.float64)
    nodes = np.array([*record.sources, "logits"])
    row_of = {str(name): row for row, name in enumerate(nodes)}
    owner = np.array([row_of[node] for node, _ in record.target_names])
    ends = np.concatenate([rows, owner[columns]])
    at_node = np.bincount(ends, weights=np.tile(weight, 2), minlength=len(nodes))
    at_an_end = np.isin(nodes, ("input", "logits"))
    touched = np.unique(ends[~at_an_end[ends]])
    return Parts(
        edge=_shares(weight, rows * len(record.targets) + columns),
        node=_shares(at_node[touched], nodes[touched]),
    )


def _shares(weight: Float[ndarray, " part"], names: ndarray) -> Shares:
    shares = pd.Series(weight, index=names)
    return shares / shares.sum()


def jaccard(one: Shares, other: Shares) -> float:
    """Return the number of parts in both circuits over that in either; NaN where neither has any.

    Shares do not count.
    """
    both = len(one.index.intersection(other.index))
    either = len(one) + len(other) - both
    return both / either if either else float("nan")


def weighted_jaccard(one: Shares, other: Shares) -> float:
    """Return the sum of the smaller over that of the larger shares, of all parts of either circuit.

    A part that a circuit lacks has no share in it. NaN where neither has any parts, or where all
    scores of a circuit are 0.
    """
    if one.isna().any() or other.isna().any():
        return float("nan")
    a, b = one.align(other, fill_value=0.0)
    larger = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / larger) if larger else float("nan")


def smoothed(values: pd.Series, *, alpha: float) -> pd.Series:
    """Return the exponentially weighted mean so far: S_0 = J_0, S_i = a J_i + (1 - a) S_(i-1).

    It is NaN where the value itself is, and goes on from the last one before such a gap.
    """
    # with ignore_na=False, pandas weighs values after a gap differently for alpha=0.5 than for
    # any other alpha
    return values.ewm(alpha=alpha, adjust=False, ignore_na=True).mean().where(values.notna())


_LINE = [*SERIES, "level", "weighting"]
_WITHOUT_CIRCUIT = (Status.NO_BEHAVIOUR, Status.TOO_FEW_PROMPTS)
_MEASURES = {Weighting.NONE: jaccard, Weighting.ABS: weighted_jaccard}

Row = dict[str, Any]
Series = tuple[Any, ...]


class _AtStep(NamedTuple):
    """What is kept of a record: the circuit, and how its halves compare, if it has any."""

    tokens: int
    circuit: Parts | None
    halves: list[Row]


def stability_table(
    records: Iterable[CircuitRecord],
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    originals: Collection[str],
    settings: Stability,
) -> pd.DataFrame:
    """Compare the circuits of every model and task, over training and between halves of prompts.

    Consecutive steps are neighbours on one schedule: the steps that all `originals` share, so that
    models can be compared. A variant that lacks some of them skips those. The reference step is
    compared with every other step of its model. Halves are compared at every step, if any record
    has them.

    A circuit counts where the table `circuit_summary` has one, whatever its status; a comparison
    with a circuit that is missing is NaN. Only the edges of circuits are kept, so `records` may be
    read one at a time.

    Args:
        records: of all models, tasks and steps, in any order.
        summary: the table `circuit_summary` of the same circuits.
        models: the order of rows, as in the configuration.
        tasks: likewise.
        originals: the models that are no variants of others.
        settings: which steps are compared, and how they are smoothed.

    Returns:
        A table with the columns of `schemas.STABILITY`.

    Raises:
        ArtifactError: if a record comes twice or is not in `summary`, two records of a model are of
            different graphs, a model lacks the reference step, or a model or task is not in the
            configuration.
    """
    steps, has_halves = _collected(records, summary)
    schedule = _common_steps(summary, originals)
    rows = [
        dict(zip(SERIES, series, strict=True)) | row
        for series, at in steps.items()
        for row in _rows(at, schedule, name=series[0], settings=settings, has_halves=has_halves)
    ]
    measured = [column for column in STABILITY.columns if column not in ("ewma", "alpha", "unit")]
    frame = _with_mean(pd.DataFrame(rows, columns=measured), alpha=settings.alpha)
    frame = STABILITY.cast(frame.assign(unit="share"))
    return in_order(frame, STABILITY, models=models, tasks=tasks)


def _collected(
    records: Iterable[CircuitRecord], summary: pd.DataFrame
) -> tuple[Mapping[Series, dict[int, _AtStep]], bool]:
    """Return what is kept of every step of every series, and whether any record has halves."""
    status = summary.set_index([*SERIES, "step"])["status"].to_dict()
    steps: dict[Series, dict[int, _AtStep]] = defaultdict(dict)
    graphs: dict[str, tuple[tuple[str, ...], ...]] = {}
    has_halves = False
    for record in records:
        series = tuple(getattr(record, name) for name in SERIES)
        graph = (record.sources, record.targets)
        if (*series, record.step) not in status:
            raise ArtifactError(f"{record.name} is not in the table circuit_summary; make it again")
        if record.step in steps[series]:
            raise ArtifactError(f"{record.name} comes more than once; expected one record")
        if graphs.setdefault(record.model, graph) != graph:
            raise ArtifactError(f"{record.name} is of another graph than others of {record.model}")
        has_halves = has_halves or bool(record.half_status)
        exists = status[*series, record.step] not in _WITHOUT_CIRCUIT
        steps[series][record.step] = _at_step(record, exists=exists)
    return steps, has_halves


def _at_step(record: CircuitRecord, *, exists: bool) -> _AtStep:
    if not exists:
        return _AtStep(record.tokens, None, [])
    halves = [
        None if status in _WITHOUT_CIRCUIT else parts_of(record, mask, scores)
        for mask, scores, status in zip(
            record.half_in_circuit, record.half_scores, record.half_status, strict=True
        )
    ]
    circuit = parts_of(record, record.in_circuit, record.scores)
    return _AtStep(record.tokens, circuit, _compared(*halves) if halves else [])


def _compared(one: Parts | None, other: Parts | None) -> list[Row]:
    """Return one row per level and weighting; NaN where a circuit is missing."""
    rows = []
    for level in Level:
        a, b = (None if parts is None else getattr(parts, level) for parts in (one, other))
        sizes = {
            "size": pd.NA if a is None else len(a),
            "size_next": pd.NA if b is None else len(b),
        }
        for weighting, measure in _MEASURES.items():
            value = float("nan") if a is None or b is None else measure(a, b)
            rows.append(
                {"level": level.value, "weighting": weighting.value, "jaccard": value} | sizes
            )
    return rows


def _common_steps(summary: pd.DataFrame, originals: Collection[str]) -> set[int]:
    steps = [set(summary.loc[summary["model"] == model, "step"]) for model in originals]
    return set.intersection(*steps) if steps else set()


def _rows(
    at: Mapping[int, _AtStep],
    schedule: Collection[int],
    *,
    name: str,
    settings: Stability,
    has_halves: bool,
) -> Iterator[Row]:
    """Yield the rows of one model and task."""
    steps = sorted(step for step in at if step >= settings.min_step)
    reference = max(at) if settings.reference_step is None else settings.reference_step
    if reference not in at:
        known = ", ".join(map(str, sorted(at)))
        raise ArtifactError(
            f"stability.reference_step is {reference}, but {name} has circuits of the steps {known}"
        )
    for step, following in pairwise(step for step in steps if step in schedule):
        found = _compared(at[step].circuit, at[following].circuit)
        yield from _placed(found, Comparison.CONSECUTIVE, at, step, following)
    for step in steps:
        if step != reference:
            found = _compared(at[step].circuit, at[reference].circuit)
            yield from _placed(found, Comparison.REFERENCE, at, step, reference)
        if has_halves:
            found = at[step].halves or _compared(None, None)
            yield from _placed(found, Comparison.HALVES, at, step, step)


def _placed(
    rows: list[Row], comparison: Comparison, at: Mapping[int, _AtStep], step: int, step_next: int
) -> Iterator[Row]:
    place = {"comparison": comparison.value, "step": step, "step_next": step_next}
    for row in rows:
        yield place | {"tokens": at[step].tokens} | row


def _with_mean(frame: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """Add the mean of consecutive steps so far, and its weight."""
    lines = frame[frame["comparison"] == Comparison.CONSECUTIVE].sort_values("step")
    means = [smoothed(line, alpha=alpha) for _, line in lines.groupby(_LINE)["jaccard"]]
    ewma = pd.concat([pd.Series(dtype="float64"), *means]).reindex(frame.index)
    is_line = frame["comparison"] == Comparison.CONSECUTIVE
    return frame.assign(ewma=ewma, alpha=is_line.map({True: alpha, False: float("nan")}))
