"""Where the change of circuits comes from: their size, the prompts, training, and the seed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from circuitlapse.circuits.overlap import MEASURES, Parts, parts_of
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit, cut, edge_order, graph_of
from circuitlapse.errors import ArtifactError
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.schemas import CHANGE_SOURCES
from circuitlapse.settings.analysis import Stability
from circuitlapse.tables.base import in_order
from circuitlapse.tables.masking import NO_BEHAVIOUR
from circuitlapse.tables.stability import SERIES, common_size
from circuitlapse.types import Level, Weighting
from circuitlapse.types.status import ChangeStatus, Status

SOURCES = ("size_rule", "prompts", "training", "seed")
"""The parts of a change, in the order in which they are added up."""
OVERLAPS = ("found", "matched", "halves", "seeds")
_WITHOUT_CIRCUIT = (Status.NO_BEHAVIOUR, Status.TOO_FEW_PROMPTS)


class Halves(NamedTuple):
    """The circuits of two halves of the prompts at one step.

    Attributes:
        tokens: seen in training so far.
        found: the circuit of each half, as found.
        matched: the first edges of the order of each half, as many as are compared, pruned.
    """

    tokens: int
    found: tuple[Parts, Parts]
    matched: tuple[Parts, Parts]


class _Lapse(NamedTuple):
    graph: Graph
    at: dict[int, Halves]


def change_sources_table(
    records: Iterable[CircuitRecord],
    *,
    circuit_summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    variants: Mapping[str, Collection[str]],
    stability: Mapping[str, Any],
) -> pd.DataFrame:
    """Make the table `change_sources`: a row per pair of neighbouring steps and level.

    A circuit of one half of the prompts is compared with that of the other half at the next step.
    See `sources_of`.

    Args:
        records: of all models, tasks and steps, in any order; they may be read one at a time.
        circuit_summary: the table of that name, made from the same records.
        models: the order of rows, as in the configuration.
        tasks: likewise.
        variants: model -> all models that differ from it only in a seed, itself included.
        stability: the section of the configuration, as keys and values.

    Raises:
        ArtifactError: see `base.in_order`.
    """
    sizes = _Sizes(circuit_summary, variants, Stability.model_validate(stability))
    lapses = _collected(records, sizes)
    rows = []
    for series, lapse in lapses.items():
        model, _, *rest = series
        others = [
            other
            for name, other in lapses.items()
            if name[0] in variants.get(model, ())
            and name[0] != model
            and [*name[2:]] == rest
            and other.graph == lapse.graph
        ]
        place = dict(zip(SERIES, series, strict=True))
        rows += [place | row for row in _rows(lapse, others)]
    frame = pd.DataFrame(rows, columns=[*CHANGE_SOURCES.columns]).assign(unit="halvings")
    return in_order(CHANGE_SOURCES.cast(frame), CHANGE_SOURCES, models=models, tasks=tasks)


def series_of(record: CircuitRecord) -> tuple[Any, ...]:
    """Return what a time-lapse of circuits has in common: the values of `SERIES`."""
    return tuple(getattr(record, name) for name in SERIES)


class _Sizes:
    """Which circuits count, and at which size those of a model and its variants are compared."""

    def __init__(
        self,
        summary: pd.DataFrame,
        variants: Mapping[str, Collection[str]],
        settings: Stability,
    ) -> None:
        self.settings = settings
        known = summary.set_index([*SERIES, "step"])
        self._status = known["status"].to_dict()
        self._requested = {
            series: rows.droplevel(list(SERIES))["n_requested"].dropna()
            for series, rows in known.groupby(level=list(SERIES))
        }
        self._original = {one: name for name, others in variants.items() for one in others}

    def able(self, record: CircuitRecord) -> bool:
        """Return whether the model does the task.

        Raises:
            ArtifactError: if the record is not in `circuit_summary`.
        """
        place = (*series_of(record), record.step)
        if place not in self._status:
            raise ArtifactError(f"{record.name} is not in circuit_summary; make that table again")
        return bool(self._status[place] != NO_BEHAVIOUR)

    def of(self, record: CircuitRecord) -> int | None:
        """Return the size for the model that the record's is a variant of; without one, its own."""
        own, original = series_of(record), self._original.get(record.model)
        alike = (one for one in self._requested if one[0] == original and one[2:] == own[2:])
        return common_size(graph_of(record), self._requested[next(alike, own)], self.settings)


def _collected(records: Iterable[CircuitRecord], sizes: _Sizes) -> Mapping[tuple[Any, ...], _Lapse]:
    lapses: dict[tuple[Any, ...], _Lapse] = {}
    for record in records:
        usable = len(record.half_status) and not set(record.half_status) & {*_WITHOUT_CIRCUIT}
        if not sizes.able(record) or not usable or record.step < sizes.settings.min_step:
            continue
        if (size := sizes.of(record)) is None:
            continue
        lapse = lapses.setdefault(series_of(record), _Lapse(graph_of(record), {}))
        lapse.at[record.step] = halves_of(record, lapse.graph, size)
    return lapses


def halves_of(record: CircuitRecord, graph: Graph, size: int) -> Halves:
    """Return the circuits of both halves, as found and at one size in edges."""
    found, matched = [], []
    for scores, mask in zip(record.half_scores, record.half_in_circuit, strict=True):
        order = edge_order(EdgeScores(graph, scores.astype(float)), how=record.selection)
        found.append(parts_of(Circuit(graph, mask), scores))
        matched.append(parts_of(cut(graph, order, size), scores))
    return Halves(record.tokens, (found[0], found[1]), (matched[0], matched[1]))


def _rows(lapse: _Lapse, others: Sequence[_Lapse]) -> Iterator[dict[str, Any]]:
    for step, following in pairwise(sorted(lapse.at)):
        seeds = [other.at[following] for other in others if following in other.at]
        for level in Level:
            place = {"step": step, "step_next": following, "level": level.value}
            one, other = lapse.at[step], lapse.at[following]
            yield place | {"tokens": one.tokens} | sources_of(one, other, seeds, level=level)


def sources_of(
    one: Halves, other: Halves, seeds: Sequence[Halves] = (), *, level: Level
) -> dict[str, Any]:
    """Return four overlaps, each a mean over both ways to compare halves, and what each adds.

    An overlap is Dice's, the share of parts that are in both circuits. All four compare circuits of
    different halves of the prompts:

    - `found`: of two steps, as found, so of different sizes;
    - `matched`: of two steps, with equally many edges;
    - `halves`: of one step, with equally many edges;
    - `seeds`: of two steps and two seeds, with equally many edges.

    Such shares multiply: parts that training kept are told apart by prompts as often as all
    others. So a change is counted in halvings, -log2 of an overlap, and these add up:
    `prompts` = -log2(halves), `training` = log2(halves / matched),
    `size_rule` = log2(matched / found), and `seed` = log2(matched / seeds). `total` is
    -log2(found), the sum of the first three. A negative part made circuits more alike.
    """
    crossed = [(0, 1), (1, 0)]
    shares = {
        "found": [(one.found[a], other.found[b]) for a, b in crossed],
        "matched": [(one.matched[a], other.matched[b]) for a, b in crossed],
        "halves": [step.matched for step in (one, other)],
        "seeds": [(one.matched[a], seed.matched[b]) for seed in seeds for a, b in crossed],
    }
    means = {name: _mean_dice(pairs, level) for name, pairs in shares.items()}
    lost = {name: math.log2(1 / mean) if mean else math.inf for name, mean in means.items()}
    row = {f"overlap_{name}": mean for name, mean in means.items()} | {"n_seeds": len(seeds)}
    if not np.isfinite([lost["found"], lost["matched"], lost["halves"]]).all():
        parts = {"prompts": lost["halves"], "total": lost["found"]}
        known = {name: value for name, value in parts.items() if np.isfinite(value)}
        return row | known | {"status": ChangeStatus.NO_OVERLAP}
    seed = lost["seeds"] - lost["matched"]
    return row | {
        "size_rule": lost["found"] - lost["matched"],
        "prompts": lost["halves"],
        "training": lost["matched"] - lost["halves"],
        "seed": seed if np.isfinite(seed) else np.nan,
        "total": lost["found"],
        "status": ChangeStatus.OK,
    }


def _mean_dice(pairs: Sequence[tuple[Parts, Parts]], level: Level) -> float:
    """Return the mean over pairs of 2 |A and B| / (|A| + |B|), which is 2 J / (1 + J)."""
    overlap = MEASURES[Weighting.NONE]
    values = [overlap(getattr(a, level), getattr(b, level)) for a, b in pairs]
    return float(np.mean([2 * j / (1 + j) for j in values])) if values else float("nan")
