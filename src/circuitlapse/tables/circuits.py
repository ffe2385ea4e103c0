"""The tables about circuits: size, faithfulness, edges, and circuits of fixed sizes."""

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
from circuitlapse.schemas import SCHEMAS
from circuitlapse.statistics import corrected
from circuitlapse.tables.base import in_order
from circuitlapse.tables.masking import masked, with_late_rule
from circuitlapse.types import SIGNIFICANCE, Ranking
from circuitlapse.types.status import CheckpointStatus

_IDENTITY = ("model", "variant", "step", "tokens", "task", "method", "ig_steps", "metric", "unit")
_FROM_RECORD = (
    *("ig_rule", "selection", "threshold", "faithfulness"),
    *(
        "n_requested",
        "n_eliminated",
        "n_edges",
        "n_edges_low",
        "n_edges_high",
        "n_nodes",
        "n_edges_total",
    ),
    *("m_model_low", "m_model_high", "f_raw_low", "f_raw_high", "status"),
    *("f_raw_held_out_low", "f_raw_held_out_high", "held_out_status"),
    *("win_share", "win_share_low", "win_share_high", "p_equivalence"),
    *("f_complement_low", "f_complement_high", "p_independence", "certificate_status"),
    *("incompleteness", "incompleteness_low", "incompleteness_high", "incompleteness_empty"),
)
"""Columns of `circuit_summary` that are attributes of a record."""


_CORRECTED = {f"q_{test}": f"p_{test}" for test in ("equivalence", "independence", "minimality")}
"""Columns of p values, corrected for the number of circuits in the table -> those they are of."""


class CircuitTables(NamedTuple):
    """The tables about circuits, under their own names; see `circuitlapse.schemas`."""

    circuit_summary: pd.DataFrame
    faithfulness_curve: pd.DataFrame
    circuit_edges: pd.DataFrame
    ranking_curve: pd.DataFrame
    ranking_area: pd.DataFrame


def circuit_tables(
    records: Iterable[CircuitRecord], *, models: Sequence[str], tasks: Sequence[str]
) -> CircuitTables:
    """Make all tables about circuits in one pass.

    All metrics are means over prompts. Faithfulness has two definitions:

    - F_raw = metric(circuit) / metric(model), see Tigges et al. 2024 (arXiv 2407.10827);
    - F_norm = (circuit - corrupted) / (model - corrupted), see Hanna et al. 2024
      (arXiv 2403.17806).

    Where the model does not do the task (see `tables.masking`) there is no circuit: its numbers
    are NaN and it has no edges, but metrics that were measured stay.

    Args:
        records: in any order; they may be read one at a time.
        models: the order of rows, as in the configuration.
        tasks: likewise.

    Raises:
        ArtifactError: if a circuit comes twice, or a model or task is not in the configuration.
    """
    makers = (_summary_row, _curve_rows, _edge_rows, _ranking_rows, _area_rows)
    rows = [[make(record) for make in makers] for record in records]
    tables = {}
    for name, parts in zip(CircuitTables._fields, zip(*rows, strict=True), strict=True):
        schema = SCHEMAS[name]
        tables[name] = in_order(schema.cast(pd.concat(parts)), schema, models=models, tasks=tasks)
    summary = with_late_rule(tables["circuit_summary"])
    tables["circuit_summary"] = summary
    tables = {name: masked(table, name, summary) for name, table in tables.items()}
    done = tables["circuit_summary"]  # only circuits that exist are tests
    q = {name: corrected(done[p].to_numpy()) for name, p in _CORRECTED.items()}
    return CircuitTables(**tables | {"circuit_summary": done.assign(**q)})


def _identity(record: CircuitRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _IDENTITY}


def _summary_row(record: CircuitRecord) -> pd.DataFrame:
    m_circuit = np.nan if record.m_circuit is None else record.m_circuit.mean()
    f_raw, f_norm = _faithfulness(np.array([m_circuit]), record)
    row = {name: getattr(record, name) for name in _FROM_RECORD} | {
        "edge_fraction": record.n_edges / record.n_edges_total,
        "m_model": record.m_model.mean(),
        "m_corrupted": record.m_corrupted.mean(),
        "m_circuit": m_circuit,
        "f_raw": f_raw[0],
        "f_norm": f_norm[0],
        "f_raw_empty": _faithfulness(record.m_corrupted.mean()[None], record)[0][0],
        "f_raw_held_out": _held_out(record.m_held_out[None], record)[0],
        "f_complement": _faithfulness(record.m_complement.mean()[None], record)[1][0],
        **_minimality(record),
        **dict.fromkeys(_CORRECTED),  # of all circuits together
        "n": record.n_groups,
        "checkpoint": str(CheckpointStatus.OK),  # until it is audited
    }
    return pd.DataFrame([_identity(record) | row])


def _minimality(record: CircuitRecord) -> dict[str, Any]:
    """Return how many tested edges are needed, and whether all are (intersection-union test)."""
    p = record.knockout_p
    if not len(p):
        return {"edges_tested": None, "edges_needed": None, "p_minimality": np.nan}
    needed = int((corrected(p) <= SIGNIFICANCE).sum())
    return {"edges_tested": len(p), "edges_needed": needed, "p_minimality": p.max()}


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
            "f_raw_held_out": _held_out(record.curve_held_out, record),
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
            "held_out": record.ranking_held_out,
            "m_circuit": m_circuit,
            "f_raw": f_raw,
            "f_norm": f_norm,
        }
    )
    frame["seed"] = frame["seed"].where(frame["ranking"] == Ranking.RANDOM)
    return frame.assign(**_identity(record))


def _area_rows(record: CircuitRecord) -> pd.DataFrame:
    rows = [
        {"ranking": ranking, "seed": seed, "held_out": held_out, "cpr": cpr, "cmd": cmd}
        for (ranking, seed, held_out), curve in _ranking_rows(record).groupby(
            ["ranking", "seed", "held_out"], dropna=False, sort=False
        )
        for cpr, cmd in [areas(curve["fraction"].to_numpy(), curve["f_norm"].to_numpy())]
    ]
    frame = pd.DataFrame(rows, columns=["ranking", "seed", "held_out", "cpr", "cmd"])
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


def _held_out(
    metric: Float[ndarray, "circuit prompt"], record: CircuitRecord
) -> Float[ndarray, " circuit"]:
    """Return F_raw of what each half found, on the prompts of the other half."""
    f_raw, _ = _faithfulness(metric.mean(axis=1), record)
    return f_raw


def _faithfulness(
    m_circuit: Float[ndarray, " size"], record: CircuitRecord
) -> tuple[Float[ndarray, " size"], Float[ndarray, " size"]]:
    """Return F_raw and F_norm of circuits on the prompts of a record."""
    return faithfulness(
        m_circuit, m_model=record.m_model.mean(), m_corrupted=record.m_corrupted.mean()
    )
