"""The tables about what models can do, and about the circuits that do it."""

from __future__ import annotations

from circuitlapse.schemas.base import HOW, WHERE, Schema

_WHERE = WHERE | {"task": "str"}
_HOW = HOW | {"metric": "str", "unit": "str"}
_CIRCUIT_KEYS = ("model", "variant", "task", "step", "method", "ig_steps")

BEHAVIOUR = Schema(
    name="behaviour",
    keys=("model", "variant", "task", "step", "metric"),
    columns=_WHERE
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("value", "se", "ci_low", "ci_high", "value_corrupted"), "float64")
    | dict.fromkeys(("accuracy", "rank0", "answer_prob"), "float64")
    | {"n": "int32", "prepend_bos": "bool", "dtype": "str", "data_seed": "int32"}
    | {"n_parameters": "int64"},
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
    | HOW
    | {"source": "str", "target": "str", "port": "str"}
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
