"""From the results of single jobs to the tables that figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.faithfulness import faithfulness
from circuitlapse.circuits.rankings import areas
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError, unknown_name
from circuitlapse.schemas import ALGORITHM_CONSISTENCY, CIRCUIT_SCHEMAS, TRANSFER, Schema
from circuitlapse.tables.masking import SERIES, lacks_behaviour, lacks_late_behaviour
from circuitlapse.types import Ranking, Status, TransferStatus

_OF_A_CIRCUIT = ["n_requested", "n_edges", "n_edges_low", "n_edges_high", "n_nodes"]
_OF_A_CIRCUIT += ["edge_fraction", "m_circuit"]
_TAKEN = ["ig_rule", "selection", "threshold", "n_requested", "n_edges", "n_edges_low"]
_TAKEN += ["n_edges_high", "n_nodes", "n_edges_total", "m_model_low", "m_model_high"]
_TAKEN += ["f_raw_low", "f_raw_high", "status"]
_RATIOS = ["f_raw", "f_raw_low", "f_raw_high", "f_norm"]


class CircuitTables(NamedTuple):
    """The tables about circuits; see `circuitlapse.schemas`."""

    summary: pd.DataFrame
    curve: pd.DataFrame
    edges: pd.DataFrame
    rankings: pd.DataFrame
    areas: pd.DataFrame


def stack(
    frames: Iterable[pd.DataFrame], schema: Schema, *, models: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Concatenate the tables of single jobs.

    Args:
        frames: each with the columns of `schema`.
        schema: of one job's table and of all.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a frame breaks the schema, an observation comes twice, or a model or
            task is not in the configuration.
    """
    return in_order(concatenated(frames, schema), schema, models=models, tasks=tasks)


def concatenated(frames: Iterable[pd.DataFrame], schema: Schema) -> pd.DataFrame:
    """Concatenate tables that must follow a schema; of none, the result has no rows.

    Raises:
        ArtifactError: if one breaks it.
    """
    frames = list(frames)
    for index, frame in enumerate(frames):
        schema.check(frame, where=f"{schema.name} of job {index}")
    return pd.concat([schema.empty(), *frames], ignore_index=True)


def circuit_tables(
    records: Iterable[CircuitRecord], *, models: Sequence[str], tasks: Sequence[str]
) -> CircuitTables:
    """Make the circuit tables in one pass, so that `records` may be read one at a time.

    F_raw is metric(circuit) / metric(model), the faithfulness of Tigges et al. 2024; F_norm
    is (circuit - corrupted) / (model - corrupted), that of Hanna et al. 2024, all of them
    means over prompts. Where the model lacks the behaviour there is no circuit: its numbers
    are NaN, its edges left out, the measured metrics kept. That is so where the search said
    it (the metric is not above zero), and where the metric is below 5 % of its mean over the
    analysed steps in the second half of training, which only the whole time-lapse can tell.

    Raises:
        ArtifactError: if a circuit comes twice, or a model or task is not in the configuration.
    """
    makers = (_summary_row, _curve_rows, _edge_rows, _ranking_rows, _area_rows)
    rows = [[make(record) for make in makers] for record in records]
    frames = [pd.concat(part) for part in zip(*rows, strict=True)]
    parts = zip(frames, CIRCUIT_SCHEMAS, strict=True)
    return _without_absent(
        CircuitTables(
            *(in_order(s.cast(frame), s, models=models, tasks=tasks) for frame, s in parts)
        )
    )


def _without_absent(tables: CircuitTables) -> CircuitTables:
    summary, curve, edges, rankings, areas_ = (table.copy() for table in tables)
    absent = (summary["status"] == Status.NO_BEHAVIOUR) | lacks_late_behaviour(summary)
    keys = [*SERIES, "step"]
    gone = pd.MultiIndex.from_frame(summary.loc[absent, keys])
    summary.loc[absent, "status"] = str(Status.NO_BEHAVIOUR)
    summary.loc[absent, _OF_A_CIRCUIT + _RATIOS] = pd.NA
    for table, numbers in (
        (curve, ["f_raw", "f_norm"]),
        (rankings, ["f_raw", "f_norm"]),
        (areas_, ["cpr", "cmd"]),
    ):
        table.loc[pd.MultiIndex.from_frame(table[keys]).isin(gone), numbers] = np.nan
    edges = edges[~pd.MultiIndex.from_frame(edges[keys]).isin(gone)].reset_index(drop=True)
    return CircuitTables(summary, curve, edges, rankings, areas_)


def _identity(record: CircuitRecord) -> dict[str, Any]:
    names = ("model", "variant", "step", "tokens", "task", "method", "ig_steps", "metric", "unit")
    return {name: getattr(record, name) for name in names}


def _summary_row(record: CircuitRecord) -> pd.DataFrame:
    m_circuit = np.nan if record.m_circuit is None else record.m_circuit.mean()
    f_raw, f_norm = _faithfulness(np.array([m_circuit]), record)
    row = {name: getattr(record, name) for name in _TAKEN} | {
        "edge_fraction": record.n_edges / record.n_edges_total,
        "m_model": record.m_model.mean(),
        "m_corrupted": record.m_corrupted.mean(),
        "m_circuit": m_circuit,
        "f_raw": f_raw[0],
        "f_norm": f_norm[0],
        "n": record.m_model.size,
    }
    return pd.DataFrame([_identity(record) | row])


def _curve_rows(record: CircuitRecord) -> pd.DataFrame:
    m_circuit = record.curve_metric.mean(axis=1)
    f_raw, f_norm = _faithfulness(m_circuit, record)
    return pd.DataFrame(
        {
            "n_requested": record.curve_n_requested,
            "n_edges": record.curve_n_edges,
            "m_circuit": m_circuit,
            "f_raw": f_raw,
            "f_norm": f_norm,
        }
    ).assign(**_identity(record))


def _ranking_rows(record: CircuitRecord) -> pd.DataFrame:
    m_circuit = record.ranking_metric.mean(axis=1)
    f_raw, f_norm = _faithfulness(m_circuit, record)
    frame = pd.DataFrame(
        {
            "ranking": list(record.ranking_name),
            "seed": pd.array(record.ranking_seed, dtype="Int32"),
            "fraction": record.ranking_fraction,
            "n_requested": record.ranking_n_requested,
            "n_edges": record.ranking_n_edges,
            "m_circuit": m_circuit,
            "f_raw": f_raw,
            "f_norm": f_norm,
        }
    )
    frame["seed"] = frame["seed"].where(frame["ranking"] == Ranking.RANDOM)
    return frame.assign(**_identity(record))


def _area_rows(record: CircuitRecord) -> pd.DataFrame:
    rows = [
        {"ranking": ranking, "seed": seed, "cpr": cpr, "cmd": cmd}
        for (ranking, seed), curve in _ranking_rows(record).groupby(
            ["ranking", "seed"], dropna=False, sort=False
        )
        for cpr, cmd in [areas(curve["fraction"].to_numpy(), curve["f_norm"].to_numpy())]
    ]
    frame = pd.DataFrame(rows, columns=["ranking", "seed", "cpr", "cmd"])
    return frame.assign(**_identity(record))


def _edge_rows(record: CircuitRecord) -> pd.DataFrame:
    rows, columns = np.nonzero(record.in_circuit)
    return pd.DataFrame(
        {
            "source": [record.sources[row] for row in rows],
            "target": [record.target_names[column][0] for column in columns],
            "port": [record.target_names[column][1] for column in columns],
            "score": record.scores[rows, columns],
            "order": record.order[rows, columns],
        }
    ).assign(in_circuit=True, **_identity(record))


def _faithfulness(
    m_circuit: Float[ndarray, " size"], record: CircuitRecord
) -> tuple[Float[ndarray, " size"], Float[ndarray, " size"]]:
    """Return F_raw and F_norm of circuits on the prompts of a record."""
    return faithfulness(
        m_circuit, m_model=record.m_model.mean(), m_corrupted=record.m_corrupted.mean()
    )


def in_order(
    frame: pd.DataFrame, schema: Schema, *, models: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Sort by the schema's keys, models and tasks in the order of the configuration.

    Raises:
        ArtifactError: if a row comes twice, or its model or task is not in the configuration.
    """
    rank = {
        "model": {name: index for index, name in enumerate(models)},
        "task": {name: index for index, name in enumerate(tasks)},
    }
    for column, known in rank.items():
        for name in frame[column].unique():
            if name not in known:
                raise ArtifactError(f"{schema.name}: {unknown_name(column, name, known)}")
    _check_once(frame, schema)

    def by_rank(column: pd.Series[Any]) -> pd.Series[Any]:
        return column.map(rank[str(column.name)]) if column.name in rank else column

    return frame.sort_values(list(schema.keys), key=by_rank, kind="stable", ignore_index=True)


def _check_once(frame: pd.DataFrame, schema: Schema) -> None:
    twice = frame[frame.duplicated(list(schema.keys))]
    if len(twice):
        row = ", ".join(f"{key}={twice.iloc[0][key]}" for key in schema.keys)
        raise ArtifactError(f"{schema.name}: {row} comes more than once; expected one row")


_OF_THE_CIRCUIT = ("model", "variant", "circuit_task", "circuit_step")


def transfer_table(
    frames: Iterable[pd.DataFrame],
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Put the transfers of single models together.

    Where a model does not do a task, no circuit counts, and none is measured.

    Args:
        frames: each with the columns of `schemas.TRANSFER`.
        summary: the table `circuit_summary`.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a frame breaks the schema, an observation comes twice, or a model or
            task is not in the configuration.
    """
    table = stack(frames, TRANSFER, models=models, tasks=tasks)
    unable = lacks_behaviour(table, summary)
    no_circuit = lacks_behaviour(table, summary, at=_OF_THE_CIRCUIT)
    table.loc[unable, "status"] = str(TransferStatus.NO_BEHAVIOUR)
    table.loc[no_circuit, "status"] = str(TransferStatus.NO_CIRCUIT)
    table.loc[no_circuit, "n_edges"] = pd.NA
    table.loc[no_circuit, "m_circuit"] = np.nan
    table.loc[no_circuit | unable, ["f_raw", "f_norm"]] = np.nan
    return table


def algorithm_table(
    frames: Iterable[pd.DataFrame],
    schema: Schema,
    *,
    summary: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
) -> pd.DataFrame:
    """Put together what single jobs traced of the algorithms.

    Where a model does not do the task, there is nothing to trace: shares are not defined and
    their status says why, as where a job itself saw it; other tables have no rows.

    Args:
        frames: each with the columns of `schema`.
        schema: one of `schemas.ALGORITHM_SCHEMAS`.
        summary: see `transfer_table`.
        models: likewise.
        tasks: likewise.

    Raises:
        ArtifactError: see `transfer_table`.
    """
    table = stack(frames, schema, models=models, tasks=tasks)
    unable = lacks_behaviour(table, summary)
    if schema is not ALGORITHM_CONSISTENCY:
        return table[~unable].reset_index(drop=True)
    table.loc[unable, ["pct", "pct_low", "pct_high", "explained", "total"]] = np.nan
    table.loc[unable, "n_heads"] = 0
    table.loc[unable, "status"] = str(Status.NO_BEHAVIOUR)
    return table
