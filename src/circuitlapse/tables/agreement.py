"""This run beside the authors' results: metric, size, faithfulness and overlap of circuits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from circuitlapse.circuits.overlap import RandomCircuits, comparison_size
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import graph_of
from circuitlapse.errors import ArtifactError
from circuitlapse.models.graph import Graph
from circuitlapse.schemas import AGREEMENT, TASK_KEYS
from circuitlapse.tables.base import in_order
from circuitlapse.tables.compared import Row, at_step, compare_steps
from circuitlapse.types import Level, Weighting

_THEIRS = {
    "value": "m_model_published",
    "n_edges": "n_edges_published",
    "n_nodes": "n_nodes_published",
    "f_raw": "f_raw_published",
}
_OVERLAP = {
    "jaccard": "jaccard",
    "jaccard_matched": "jaccard_matched",
    "jaccard_chance": "jaccard_chance",
    "floor_median": "floor_median",
    "floor_low": "floor_low",
    "changed": "differs",
}
"""Column of a comparison of two circuits -> end of its name in `agreement`."""


def agreement_table(
    records: Iterable[CircuitRecord],
    published_records: Iterable[CircuitRecord],
    *,
    circuit_summary: pd.DataFrame,
    published: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Make the table `agreement`: a row per model, task and step that both have.

    Circuits are compared as found, and cut at one size: that of the search of this run, or if it
    found none, of the authors. The noise floor is that of this run: the overlap at this size of
    circuits from two halves of the prompts. Below its 5 % quantile, the circuits differ by more
    than the choice of prompts explains.

    Args:
        records: of this run; those that the authors have, too, in the same order as
            `published_records`. They may be read one at a time.
        published_records: of the authors.
        circuit_summary: the table of that name of this run.
        published: the table of that name.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if two circuits that belong together are of different steps or graphs, or a
            row comes twice.
    """
    largest = circuit_summary.groupby("model")["n_requested"].max().dropna()
    # neither where the model does not do the task nor where its checkpoint is left out
    has_circuit = circuit_summary.set_index(list(TASK_KEYS))["n_edges"].notna()
    chance: dict[str, RandomCircuits] = {}
    rows = []
    for record, other in zip(records, published_records, strict=True):
        graph = _same_graph(record, other)
        size = comparison_size(graph, record.n_requested or other.n_requested or 1)
        if record.model not in chance:
            most = max(size, 2 * int(largest.get(record.model, 0)))
            most = min(graph.n_edges, most)
            chance[record.model] = RandomCircuits(graph, how=record.selection, largest=most)
        key = tuple(getattr(record, name) for name in TASK_KEYS)
        compared = size if has_circuit[key] else None
        row = _overlap(record, other, graph, compared, chance[record.model])
        rows.append(dict(zip(TASK_KEYS, key, strict=True)) | row)
    columns = [*TASK_KEYS, *_overlap_columns(), "size_matched", "rank_correlation"]
    overlaps = pd.DataFrame(rows, columns=columns)
    frame = _both(circuit_summary, published).merge(overlaps, how="left", on=list(TASK_KEYS))
    return in_order(AGREEMENT.cast(frame), AGREEMENT, models=models, tasks=tasks)


def _both(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Join the numbers of both; a metric of another kind is not compared."""
    theirs = published.rename(columns=_THEIRS | {"metric": "theirs"})
    joined = summary.merge(theirs[[*TASK_KEYS, "theirs", *_THEIRS.values()]], on=list(TASK_KEYS))
    same = joined["metric"] == joined["theirs"]
    return joined.assign(m_model_published=joined["m_model_published"].where(same))


def _same_graph(record: CircuitRecord, other: CircuitRecord) -> Graph:
    graph, theirs = graph_of(record), graph_of(other)
    if (record.name, graph) != (other.name, theirs):
        raise ArtifactError(
            f"the authors' {other.name} is of {theirs}, expected the {record.name} of {graph}"
        )
    return graph


def _overlap(
    record: CircuitRecord,
    other: CircuitRecord,
    graph: Graph,
    size: int | None,
    random: RandomCircuits,
) -> Row:
    """Return what two circuits have in common, in the columns of `agreement`."""
    own, theirs = at_step(record, graph, size), at_step(other, graph, size)
    theirs = theirs._replace(floor_median=own.floor_median, floor_low=own.floor_low)
    found: dict[str, Mapping[str, Any]] = {
        row["level"]: row
        for row in compare_steps(own, theirs, size=size, random=random)
        if row["weighting"] == Weighting.NONE
    }
    first = found[Level.EDGE]
    return {
        f"{level}_{end}": found[level][name] for level in Level for name, end in _OVERLAP.items()
    } | {name: first[name] for name in ("size_matched", "rank_correlation")}


def _overlap_columns() -> list[str]:
    return [f"{level}_{end}" for level in Level for end in _OVERLAP.values()]
