"""How stable circuits are: over training, and between two halves of the prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from circuitlapse.circuits.overlap import RandomCircuits, comparison_size
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import graph_of
from circuitlapse.errors import ArtifactError
from circuitlapse.models.graph import Graph
from circuitlapse.schemas import STABILITY
from circuitlapse.settings.analysis import Stability
from circuitlapse.tables.base import in_order
from circuitlapse.tables.compared import AtStep, Row, at_step, compare_steps
from circuitlapse.tables.masking import NO_BEHAVIOUR
from circuitlapse.types import Comparison


def smoothed(values: pd.Series, *, alpha: float) -> pd.Series:
    """Return the exponentially weighted mean so far: S_0 = J_0, S_i = a J_i + (1 - a) S_(i-1).

    It is NaN where the value is NaN, and continues after such a gap from the last mean before it.
    """
    # ignore_na=False would weight the values after a gap by its length
    return values.ewm(alpha=alpha, adjust=False, ignore_na=True).mean().where(values.notna())


SERIES = ("model", "variant", "task", "method", "ig_steps")
"""Columns that have the same value in all circuits of one time-lapse."""

_LINE = [*SERIES, "level", "weighting"]
_LATER = ("ewma", "alpha", "unit")

Series = tuple[Any, ...]


class _Lapse(NamedTuple):
    """The circuits of one model and task."""

    graph: Graph
    selection: str
    size: int | None
    """Edges at which circuits are compared; None if the model has no circuit at any step."""
    at: dict[int, AtStep]


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

    Circuits as found differ in size, and that alone lowers their overlap. So both are also cut
    from their order of edges at one size per model and task: that of the reference step's circuit,
    or without one, of the last circuit. A change is reported where that overlap is below the noise
    floor of both steps at this size: the 5 % quantile of the overlaps of two halves of the prompts.

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
    lapses, has_halves = _collected(records, circuit_summary, settings)
    schedule = _common_steps(circuit_summary, originals)
    random = _random_circuits(lapses.values())
    rows = [
        dict(zip(SERIES, series, strict=True)) | row
        for series, lapse in lapses.items()
        for row in _rows(
            lapse,
            schedule,
            name=series[0],
            settings=settings,
            has_halves=has_halves,
            random=random[lapse.graph, lapse.selection],
        )
    ]
    measured = [column for column in STABILITY.columns if column not in _LATER]
    frame = _with_mean(pd.DataFrame(rows, columns=measured), alpha=settings.alpha)
    frame = STABILITY.cast(frame.assign(unit="share"))
    return in_order(frame, STABILITY, models=models, tasks=tasks)


def _collected(
    records: Iterable[CircuitRecord], summary: pd.DataFrame, settings: Stability
) -> tuple[Mapping[Series, _Lapse], bool]:
    """Return what is kept of every record, by series and step, and whether any has halves."""
    known = summary.set_index([*SERIES, "step"])
    status = known["status"].to_dict()
    requested = {
        series: rows.droplevel(SERIES)["n_requested"].dropna()
        for series, rows in known.groupby(level=list(SERIES))
    }
    lapses: dict[Series, _Lapse] = {}
    graphs: dict[str, tuple[tuple[str, ...], ...]] = {}
    has_halves = False
    for record in records:
        series = tuple(getattr(record, name) for name in SERIES)
        graph = (record.sources, record.targets)
        if (*series, record.step) not in status:
            raise ArtifactError(f"{record.name} is not in circuit_summary; make that table again")
        if graphs.setdefault(record.model, graph) != graph:
            raise ArtifactError(
                f"{record.name} has another graph than earlier circuits of {record.model}"
            )
        if series not in lapses:
            size = common_size(graph_of(record), requested[series], settings)
            lapses[series] = _Lapse(graph_of(record), record.selection, size, {})
        if record.step in lapses[series].at:
            raise ArtifactError(f"{record.name} comes more than once; expected one record")
        has_halves = has_halves or bool(record.half_status)
        exists = status[*series, record.step] != NO_BEHAVIOUR
        lapse = lapses[series]
        lapse.at[record.step] = at_step(record, lapse.graph, lapse.size if exists else None)
    return lapses, has_halves


def common_size(graph: Graph, requested: pd.Series[int], settings: Stability) -> int | None:
    """Return the size at which circuits are compared: near that of the reference step."""
    if requested.empty:
        return None
    reference = requested[requested.index == settings.reference_step]
    last = requested.sort_index().iloc[-1:]
    return comparison_size(graph, int((last if reference.empty else reference).iloc[0]))


def _random_circuits(lapses: Iterable[_Lapse]) -> Mapping[tuple[Graph, str], RandomCircuits]:
    """Return random circuits of every graph and selection, up to the largest size compared."""
    largest: dict[tuple[Graph, str], int] = defaultdict(int)
    for lapse in lapses:
        key = (lapse.graph, lapse.selection)
        largest[key] = max(largest[key], lapse.size or 0)
    return {key: RandomCircuits(key[0], how=key[1], largest=n) for key, n in largest.items()}


def _common_steps(summary: pd.DataFrame, originals: Collection[str]) -> set[int]:
    steps = [set(summary.loc[summary["model"] == model, "step"]) for model in originals]
    return set.intersection(*steps) if steps else set()


def _rows(
    lapse: _Lapse,
    schedule: Collection[int],
    *,
    name: str,
    settings: Stability,
    has_halves: bool,
    random: RandomCircuits,
) -> Iterator[Row]:
    """Yield the rows of one model and task."""
    at = lapse.at
    compare = partial(compare_steps, size=lapse.size, random=random)
    steps = sorted(step for step in at if step >= settings.min_step)
    reference = max(at) if settings.reference_step is None else settings.reference_step
    if reference not in at:
        known = ", ".join(map(str, sorted(at)))
        raise ArtifactError(
            f"stability.reference_step: {name} has no circuit of step {reference}; steps: {known}"
        )
    for step, following in pairwise(step for step in steps if step in schedule):
        found = compare(at[step], at[following])
        yield from _placed(found, Comparison.CONSECUTIVE, at, step, following)
    for step in steps:
        if step != reference:
            found = compare(at[step], at[reference])
            yield from _placed(found, Comparison.REFERENCE, at, step, reference)
        if has_halves:
            yield from _placed(at[step].halves, Comparison.HALVES, at, step, step)


def _placed(
    rows: list[Row], comparison: Comparison, at: Mapping[int, AtStep], step: int, step_next: int
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
