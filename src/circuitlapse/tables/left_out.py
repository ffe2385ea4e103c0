"""What tables hold where a checkpoint is left out: its rows are there, and say why.

The jobs of single checkpoints know nothing of this. Results of a checkpoint that has the weights of
another one are dropped before tables are made of them, so that no line, mean or comparison has
them. Then the tables that have a status get rows of such checkpoints without numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from circuitlapse.schemas import (
    CERTIFICATE_NUMBERS,
    CONSISTENCY_NUMBERS,
    EDGES_TESTED,
    ROLE_GRAPH_NUMBERS,
    SCHEMAS,
    SELF_REPAIR_NUMBERS,
    Schema,
)
from circuitlapse.tables.base import in_order

PLACES = (
    ("model", "step"),
    ("circuit_model", "circuit_step"),
    ("model", "source_step"),
    ("model", "target_step"),
)
"""Columns of tables that name a checkpoint."""

EMPTIED: Mapping[str, tuple[str, ...]] = {
    "behaviour": (
        *("value", "se", "ci_low", "ci_high", "value_corrupted"),
        *("accuracy", "rank0", "answer_prob"),
    ),
    "circuit_summary": (
        *("n_requested", "n_eliminated", "n_edges", "n_nodes", "n_edges_low", "n_edges_high"),
        *("edge_fraction", "m_model", "m_model_low", "m_model_high", "m_corrupted", "m_circuit"),
        *("f_raw", "f_raw_low", "f_raw_high", "f_norm", "f_raw_empty"),
        *("f_raw_held_out", "f_raw_held_out_low", "f_raw_held_out_high"),
        *CERTIFICATE_NUMBERS,
        *EDGES_TESTED,
    ),
    "components": ("value", "low", "high", "in_circuit"),
    "algorithm_consistency": CONSISTENCY_NUMBERS,
    "self_repair": SELF_REPAIR_NUMBERS,
    "role_graph": ROLE_GRAPH_NUMBERS,
}
"""Table -> the numbers that a checkpoint that is left out does not have."""
STATUSES = ("checkpoint", "status", "held_out_status", "certificate_status")
"""Columns that say why, where a table has them."""


def kept(contents: Iterable[Any], audit: pd.DataFrame) -> Iterator[Any]:
    """Yield the results of single jobs without checkpoints that are left out.

    Args:
        contents: tables or circuits.
        audit: the table of that name.
    """
    out = {*zip(*(audit.loc[audit["left_out"], name] for name in ("model", "step")), strict=True)}
    for one in contents:
        if isinstance(one, pd.DataFrame):
            yield _without(one, out) if out else one
        elif (getattr(one, "model", None), getattr(one, "step", None)) not in out:
            yield one


def _without(table: pd.DataFrame, out: set[tuple[str, int]]) -> pd.DataFrame:
    rows = np.ones(len(table), dtype=bool)
    for model, step in PLACES:
        if {model, step} <= {*table.columns}:
            places = zip(table[model], table[step], strict=True)
            rows &= np.array([place not in out for place in places], dtype=bool)
    return table[rows].reset_index(drop=True)


def with_audit(table: pd.DataFrame, name: str, audit: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the status of each checkpoint, and rows of those that are left out.

    Such rows are those of the last step of the same model, without its numbers.

    Args:
        table: made of the results that `kept` yields.
        name: of the table.
        audit: the table of that name.
    """
    by_step = audit.drop_duplicates(["model", "step"]).set_index(["model", "step"])
    if "checkpoint" in table:
        places = pd.MultiIndex.from_frame(table[["model", "step"]])
        status = by_step["status"].reindex(places).fillna("ok")
        table = table.assign(checkpoint=status.to_numpy())
    out = by_step[by_step["left_out"].astype(bool)]
    if name not in EMPTIED or out.empty or table.empty:
        return table
    schema = SCHEMAS[name]
    added = [_row_of(table, one, schema) for one in out.reset_index().to_dict("records")]
    order = {f"{column}s": list(dict.fromkeys(table[column])) for column in ("model", "task")}
    return in_order(schema.cast(pd.concat([table, *added])), schema, **order)


def _row_of(table: pd.DataFrame, one: Mapping[Any, Any], schema: Schema) -> pd.DataFrame:
    """Return rows of one checkpoint that is left out; none if its model is not in the table."""
    rows = table[table["model"] == one["model"]]
    rows = rows[rows["step"] == rows["step"].max()]
    changed = {"step": one["step"], "tokens": one["tokens"]}
    changed |= {column: one["status"] for column in STATUSES if column in schema.columns}
    empty = {column: rows[column].mask(rows["step"] >= 0) for column in EMPTIED[schema.name]}
    made: pd.DataFrame = rows.assign(**empty, **changed)
    return made
