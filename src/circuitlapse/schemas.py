"""The columns, dtypes and keys of every table, in one place.

Every table is tidy: one row per observation. `tokens` is the training data seen at `step`;
`unit` is that of the metric. A number that is not defined is NaN (or missing, for a count),
never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from circuitlapse.errors import ArtifactError


@dataclass(frozen=True)
class Schema:
    """One table: its columns in order with their pandas dtypes, and what identifies a row."""

    name: str
    keys: tuple[str, ...]
    """Columns whose values together occur once; rows are sorted by them."""
    columns: Mapping[str, str]

    def check(self, frame: pd.DataFrame, *, where: str) -> None:
        """Compare columns and dtypes with this schema.

        Raises:
            ArtifactError: naming `where` and each column that differs.
        """
        found = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
        problems = [
            f"column {column!r} is {found.get(column, 'missing')}, expected {dtype}"
            for column, dtype in self.columns.items()
            if found.get(column) != dtype
        ]
        problems += [f"column {name!r} is unexpected" for name in found if name not in self.columns]
        if not problems and list(found) != list(self.columns):
            problems = [f"columns are in the order {list(found)}, expected {list(self.columns)}"]
        if problems:
            raise ArtifactError(f"{where}: not a {self.name} table: {'; '.join(problems)}")

    def cast(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of this schema, in its order, with its dtypes."""
        return frame[list(self.columns)].astype(dict(self.columns))


_WHERE = {"model": "str", "variant": "str", "step": "int64", "tokens": "int64", "task": "str"}
_HOW = {"method": "str", "ig_steps": "int16", "metric": "str", "unit": "str"}
_CIRCUIT_KEYS = ("model", "variant", "task", "step", "method", "ig_steps")

BEHAVIOUR = Schema(
    name="behaviour",
    keys=("model", "variant", "task", "step", "metric"),
    columns=_WHERE
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("value", "se", "ci_low", "ci_high", "value_corrupted"), "float64")
    | dict.fromkeys(("accuracy", "rank0", "answer_prob"), "float64")
    | {"n": "int32", "prepend_bos": "bool", "dtype": "str", "data_seed": "int32"},
)
"""How well each model does each task; `ci_*` is a bootstrap interval over prompts, at the
configured level (95 % by default)."""

CIRCUIT_SUMMARY = Schema(
    name="circuit_summary",
    keys=_CIRCUIT_KEYS,
    columns=_WHERE
    | _HOW
    | {"ig_rule": "str", "selection": "str", "threshold": "float64"}
    | dict.fromkeys(("n_requested", "n_edges", "n_nodes"), "Int32")
    | dict.fromkeys(("n_edges_low", "n_edges_high"), "float64")
    | {"n_edges_total": "int32", "edge_fraction": "float64"}
    | dict.fromkeys(("m_model", "m_model_low", "m_model_high"), "float64")
    | dict.fromkeys(("m_corrupted", "m_circuit"), "float64")
    | dict.fromkeys(("f_raw", "f_raw_low", "f_raw_high", "f_norm"), "float64")
    | {"status": "str", "n": "int32"},
)
"""One circuit per row: its size after pruning and its faithfulness."""

FAITHFULNESS_CURVE = Schema(
    name="faithfulness_curve",
    keys=(*_CIRCUIT_KEYS, "n_requested"),
    columns=_WHERE
    | _HOW
    | {"n_requested": "int32", "n_edges": "int32"}
    | dict.fromkeys(("m_circuit", "f_raw", "f_norm"), "float64"),
)
"""Every size the search evaluated."""

CIRCUIT_EDGES = Schema(
    name="circuit_edges",
    keys=(*_CIRCUIT_KEYS, "order", "source", "target", "port"),
    columns=_WHERE
    | {"method": "str", "ig_steps": "int16", "source": "str", "target": "str", "port": "str"}
    | {"score": "float32", "unit": "str", "order": "int32", "in_circuit": "bool"},
)
"""The edges of every circuit; the scores of all other edges stay in the circuit files."""

_RANKING = {"ranking": "str", "seed": "Int32"}

RANKING_CURVE = Schema(
    name="ranking_curve",
    keys=(*_CIRCUIT_KEYS, "ranking", "seed", "fraction"),
    columns=_WHERE
    | _HOW
    | _RANKING
    | {"fraction": "float64", "n_requested": "int32", "n_edges": "int32"}
    | dict.fromkeys(("m_circuit", "f_raw", "f_norm"), "float64"),
)
"""Circuits of fixed shares of the edges: by signed score, by |score|, and at random (`seed`)."""

RANKING_AREA = Schema(
    name="ranking_area",
    keys=(*_CIRCUIT_KEYS, "ranking", "seed"),
    columns=_WHERE | _HOW | _RANKING | dict.fromkeys(("cpr", "cmd"), "float64"),
)
"""Area under F_norm (CPR) and between F_norm and 1 (CMD), over the share of edges."""

CIRCUIT_SCHEMAS = (CIRCUIT_SUMMARY, FAITHFULNESS_CURVE, CIRCUIT_EDGES, RANKING_CURVE, RANKING_AREA)
"""The tables that are made from circuits, in the order in which they are made."""

HEAD_SCORES = Schema(
    name="head_scores",
    keys=("score", "layer", "head"),
    columns={"score": "str", "layer": "int16", "head": "int16"}
    | {"value": "float32", "n": "int32", "status": "str"},
)
"""What attention heads of one model do; `score_heads` returns it, scores as they were asked for."""
