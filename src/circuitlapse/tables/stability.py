"""How stable circuits are: over training, and between two halves of the prompts."""

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
from circuitlapse.settings.analysis import Stability
from circuitlapse.tables.base import in_order
from circuitlapse.tables.masking import NO_BEHAVIOUR
from circuitlapse.types import Comparison, Level, Status, Weighting

Shares = pd.Series
"""The share of each edge, or node, of a circuit, indexed by edge or node; the sum is 1."""


class Parts(NamedTuple):
    """The edges and the nodes of one circuit, each with its share.

    Attributes:
        edge: |score| over the sum of |score| of the circuit, indexed by the position of the edge
            in the flattened score matrix.
        node: the summed |score| of the edges that touch a head or an MLP, over the total of all
            of these, indexed by name. An edge counts for both of its ends. `input` and `logits`
            are left out: they are in every circuit, so any two circuits would overlap.
    """

    edge: Shares
    node: Shares


def parts_of(
    record: CircuitRecord,
    in_circuit: Bool[ndarray, "source target"],
    scores: Float[ndarray, "source target"],
) -> Parts:
    """Return the parts of a circuit of the record's graph."""
    rows, columns = np.nonzero(in_circuit)  # [edge]
    weight = np.abs(scores[rows, columns]).astype(np.float64)  # [edge]
    nodes = np.array([*record.sources, "logits"])  # [node]
    row_of = {str(name): row for row, name in enumerate(nodes)}
    owner = np.array([row_of[node] for node, _ in record.target_names])  # [target]: its node
    ends = np.concatenate([rows, owner[columns]])  # [2 * edge]: both nodes of every edge
    at_node = np.bincount(ends, weights=np.tile(weight, 2), minlength=len(nodes))  # [node]
    at_an_end = np.isin(nodes, ("input", "logits"))  # [node]
    touched = np.unique(ends[~at_an_end[ends]])
    return Parts(
        edge=_shares(weight, rows * len(record.targets) + columns),
        node=_shares(at_node[touched], nodes[touched]),
    )


def _shares(weight: Float[ndarray, " part"], names: ndarray) -> Shares:
    shares = pd.Series(weight, index=names)
    return shares / shares.sum()


def jaccard(one: Shares, other: Shares) -> float:
    """Return the number of parts in both circuits over the number in either; NaN if there are none.

    Shares do not matter.
    """
    both = len(one.index.intersection(other.index))
    either = len(one) + len(other) - both
    return both / either if either else float("nan")


def weighted_jaccard(one: Shares, other: Shares) -> float:
    """Return the sum of the smaller shares over the sum of the larger ones, for all parts.

    A part that is not in a circuit has the share 0 there. The result is NaN if neither circuit has
    any parts, or if all scores of a circuit are 0.
    """
    if one.isna().any() or other.isna().any():
        return float("nan")
    a, b = one.align(other, fill_value=0.0)
    larger = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / larger) if larger else float("nan")


def smoothed(values: pd.Series, *, alpha: float) -> pd.Series:
    """Return the exponentially weighted mean so far: S_0 = J_0, S_i = a J_i + (1 - a) S_(i-1).

    It is NaN where the value is NaN, and continues after such a gap from the last mean before it.
    """
    # ignore_na=False would weight the values after a gap by its length
    return values.ewm(alpha=alpha, adjust=False, ignore_na=True).mean().where(values.notna())


SERIES = ("model", "variant", "task", "method", "ig_steps")
"""Columns that have the same value in all circuits of one time-lapse."""

_LINE = [*SERIES, "level", "weighting"]
_HALF_WITHOUT_CIRCUIT = (Status.NO_BEHAVIOUR, Status.TOO_FEW_PROMPTS)
_MEASURES = {Weighting.NONE: jaccard, Weighting.ABS: weighted_jaccard}

Row = dict[str, Any]
Series = tuple[Any, ...]


class _AtStep(NamedTuple):
    """What is kept of a record: its circuit, and the comparison of its halves, if it has any."""

    tokens: int
    circuit: Parts | None
    halves: list[Row]


def stability_table(
    records: Iterable[CircuitRecord],
    *,
    circuit_summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    originals: Collection[str],
    stability: Stability | Mapping[str, Any],
) -> pd.DataFrame:
    """Make the table `stability`: compare the circuits of every model and task.

    - `consecutive`: neighbours on one schedule, the steps that all `originals` have, so that models
      can be compared. A variant that lacks some of these steps skips them.
    - `reference`: every other step with the reference step of the same model.
    - `halves`: the circuits of two halves of the prompts, at every step if any record has halves.

    Every circuit in `circuit_summary` counts, whatever its status, unless the model does not do
    the task. A comparison with a missing circuit is NaN.

    Args:
        records: of all models, tasks and steps, in any order; they may be read one at a time.
        circuit_summary: the table of that name, made from the same records.
        models: the order of rows, as in the configuration.
        tasks: likewise.
        originals: the models that are not variants of others.
        stability: the section of the configuration, or its keys and values.

    Raises:
        ArtifactError: if a record comes twice or is not in `circuit_summary`, two records of a
            model have different graphs, a model lacks the reference step, or a model or task is
            not in the configuration.
    """
    settings = Stability.model_validate(stability)
    steps, has_halves = _collected(records, circuit_summary)
    schedule = _common_steps(circuit_summary, originals)
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
    """Return what is kept of every step, by series and step, and whether any record has halves."""
    status = summary.set_index([*SERIES, "step"])["status"].to_dict()
    steps: dict[Series, dict[int, _AtStep]] = defaultdict(dict)
    graphs: dict[str, tuple[tuple[str, ...], ...]] = {}
    has_halves = False
    for record in records:
        series = tuple(getattr(record, name) for name in SERIES)
        graph = (record.sources, record.targets)
        if (*series, record.step) not in status:
            raise ArtifactError(f"{record.name} is not in circuit_summary; make that table again")
        if record.step in steps[series]:
            raise ArtifactError(f"{record.name} comes more than once; expected one record")
        if graphs.setdefault(record.model, graph) != graph:
            raise ArtifactError(
                f"{record.name} has another graph than earlier circuits of {record.model}"
            )
        has_halves = has_halves or bool(record.half_status)
        exists = status[*series, record.step] != NO_BEHAVIOUR
        steps[series][record.step] = _at_step(record, exists=exists)
    return steps, has_halves


def _at_step(record: CircuitRecord, *, exists: bool) -> _AtStep:
    if not exists:
        return _AtStep(record.tokens, None, [])
    halves = [
        None if status in _HALF_WITHOUT_CIRCUIT else parts_of(record, mask, scores)
        for mask, scores, status in zip(
            record.half_in_circuit, record.half_scores, record.half_status, strict=True
        )
    ]
    circuit = parts_of(record, record.in_circuit, record.scores)
    return _AtStep(record.tokens, circuit, _compared(*halves) if halves else [])


def _compared(one: Parts | None, other: Parts | None) -> list[Row]:
    """Return a row per level and weighting; NaN if a circuit is missing."""
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
            f"stability.reference_step: {name} has no circuit of step {reference}; steps: {known}"
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
    """Add the smoothed overlap of consecutive steps, and the weight of the newest one."""
    lines = frame[frame["comparison"] == Comparison.CONSECUTIVE].sort_values("step")
    means = [smoothed(line, alpha=alpha) for _, line in lines.groupby(_LINE)["jaccard"]]
    ewma = pd.concat([pd.Series(dtype="float64"), *means]).reindex(frame.index)
    is_line = frame["comparison"] == Comparison.CONSECUTIVE
    return frame.assign(ewma=ewma, alpha=is_line.map({True: alpha, False: float("nan")}))
