"""The authors' results as the tables of a run, so that the same functions draw them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from circuitlapse.circuits.faithfulness import OVERSHOOT
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit, graph_of
from circuitlapse.schemas import PUBLISHED, PUBLISHED_CURVE, TASK_KEYS
from circuitlapse.tables.base import concatenated, in_order
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.tables.masking import NO_BEHAVIOUR, masked
from circuitlapse.types.status import Status

_log = logging.getLogger(__name__)

FROM_STEP = 1000
"""The first step of the means below."""
_TASKS = ("ioi", "greater_than", "gendered_pronoun", "sva")
MEAN_NODES: Mapping[tuple[str, str], float] = {
    (f"pythia-{size}", task): mean
    for size, means in {
        "70m": (28.917, 13.248, 17.667, 14.965),
        "160m": (43.255, 17.324, 23.697, 34.664),
        "410m": (88.287, 36.704, 39.273, 51.845),
        "1.4b": (46.640, 35.042, 56.560, 93.939),
        "2.8b": (135.440, 72.750, 42.333, 97.848),
    }.items()
    for task, mean in zip(_TASKS, means, strict=True)
}
"""Mean number of nodes of the circuits from step 1000 on, as the authors computed it from the same
files (`plotting/correlation.py`). That script takes 1.4 and 2.8 B for ten times as large; here the
names of models say their sizes."""


class PublishedTables(NamedTuple):
    """The table `published`, and those of a run; see `circuitlapse.schemas`."""

    published: pd.DataFrame
    circuit_summary: pd.DataFrame
    faithfulness_curve: pd.DataFrame
    circuit_edges: pd.DataFrame
    ranking_curve: pd.DataFrame
    ranking_area: pd.DataFrame


def published_tables(
    records: Iterable[CircuitRecord],
    curves: Iterable[pd.DataFrame],
    *,
    behaviour: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> PublishedTables:
    """Make all tables about the authors' circuits in one pass.

    Their faithfulness is taken from their files, also where the metric is unknown. `published` has
    every number as it was published; in the other tables, circuits of models that do not do the
    task are masked as in a run, by the rule that only looks at the metric (`with_late_rule`).

    Args:
        records: of graphs, in any order; they may be read one at a time.
        curves: tables `published_curve`.
        behaviour: the table of that name, of the authors.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a circuit comes twice, or a model or task is not in the configuration.
    """
    rows: list[dict[str, Any]] = []
    tables = circuit_tables(_noted(records, rows), models=models, tasks=tasks)
    known = concatenated(curves, PUBLISHED_CURVE).set_index([*TASK_KEYS, "n_requested"])["f_raw"]
    found = {
        name: _with_faithfulness(getattr(tables, name), known)
        for name in ("circuit_summary", "faithfulness_curve")
    }
    summary = found["circuit_summary"]
    summary["status"] = _statuses(summary)
    found = {name: masked(table, name, summary) for name, table in found.items()}
    published = _with_faithfulness(_published(rows, behaviour), known)
    _compare_sizes(published)
    published = in_order(published, PUBLISHED, models=models, tasks=tasks)
    return PublishedTables(**tables._asdict() | found, published=published)


def _noted(records: Iterable[CircuitRecord], rows: list[dict[str, Any]]) -> Iterator[CircuitRecord]:
    """Pass records on; add what `published` has of each to `rows`."""
    names = ("model", "variant", "step", "tokens", "task", "metric", "unit")
    counts = ("n_requested", "n_edges", "n_nodes", "n_edges_total")
    for record in records:
        own = {name: getattr(record, name) for name in (*names, *counts)}
        rows.append(own | {"selection_jaccard": _selection_jaccard(record)})
        yield record


def _selection_jaccard(record: CircuitRecord) -> float:
    """Return the overlap of a circuit and of what our selection takes from the same scores.

    1 says that both select alike; ties of rounded scores can be broken in another way.
    """
    taken = (record.order >= 0) & (record.order < (record.n_requested or 0))
    ours = Circuit(graph_of(record), taken).pruned().mask
    either = (ours | record.in_circuit).sum()
    return float((ours & record.in_circuit).sum() / either) if either else float("nan")


def _published(rows: Sequence[Mapping[str, Any]], behaviour: pd.DataFrame) -> pd.DataFrame:
    """Join circuits and metrics: a row for each model, step and task that has either."""
    shared = ["model", "variant", "step", "tokens", "task", "metric", "unit"]
    columns = [name for name in PUBLISHED.columns if name not in ("value", "f_raw")]
    circuits = pd.DataFrame(rows, columns=columns)
    metrics = behaviour.loc[behaviour["value"].notna(), [*shared, "value"]]
    return PUBLISHED.cast(circuits.merge(metrics, how="outer", on=shared).assign(f_raw=np.nan))


def _with_faithfulness(table: pd.DataFrame, known: pd.Series[float]) -> pd.DataFrame:
    """Return a table with the published faithfulness of circuits of `n_requested` edges."""
    asked = table[[*TASK_KEYS, "n_requested"]].astype({"n_requested": "Int64"})
    keys = pd.MultiIndex.from_frame(asked.fillna(-1))
    return table.assign(f_raw=known.reindex(keys).to_numpy())


def _statuses(summary: pd.DataFrame) -> pd.Series[str]:
    reached = summary["f_raw"] >= summary["threshold"]
    status = reached.map({True: str(Status.OK), False: str(Status.NOT_REACHED)})
    status = status.mask(summary["f_raw"] > OVERSHOOT, str(Status.OVERSHOOT))
    return status.mask(summary["status"] == NO_BEHAVIOUR, NO_BEHAVIOUR).astype("str")


def _compare_sizes(published: pd.DataFrame) -> None:
    """Log mean circuit sizes beside those that the authors computed from the same files."""
    late = published[published["step"] >= FROM_STEP]
    for (model, task), theirs in MEAN_NODES.items():
        mean = late.loc[(late["model"] == model) & (late["task"] == task), "n_nodes"].mean()
        if pd.notna(mean):
            say = _log.info if abs(mean - theirs) < 0.01 * theirs else _log.warning
            say("%s, %s: %.1f nodes on average, %.1f by the authors", model, task, mean, theirs)
