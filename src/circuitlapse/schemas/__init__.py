"""The schema of every table: its columns, their dtypes, and its keys.

Every table is tidy: one row per observation. An undefined number is NaN, an undefined count is
missing; neither is ever zero. `docs/tables.md` explains every column.
"""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.schemas.base import (
    CHECKPOINT,
    CHECKPOINT_TASK as CHECKPOINT_TASK,
    HEAD,
    TASK_KEYS as TASK_KEYS,
    Schema as Schema,
)
from circuitlapse.schemas.roles import (
    ALGORITHM_CONSISTENCY as ALGORITHM_CONSISTENCY,
    CONSISTENCY_NUMBERS as CONSISTENCY_NUMBERS,
    GT_ALGORITHM as GT_ALGORITHM,
    HAND_OVER as HAND_OVER,
    HEAD_SCORES as HEAD_SCORES,
    HEADS as HEADS,
    IOI_SCHEMAS as IOI_SCHEMAS,
    ROLE_GRAPH as ROLE_GRAPH,
    ROLE_GRAPH_NUMBERS as ROLE_GRAPH_NUMBERS,
    ROLE_SPLITS as ROLE_SPLITS,
    ROLES as ROLES,
    S2I as S2I,
    SELF_REPAIR as SELF_REPAIR,
    SELF_REPAIR_NUMBERS as SELF_REPAIR_NUMBERS,
    TURNOVER as TURNOVER,
)
from circuitlapse.types import Level

METHOD = {"method": "str", "ig_steps": "int16"}
"""The columns that say how a circuit was found."""
METHOD_METRIC = METHOD | {"metric": "str", "unit": "str"}
"""The same and how it was measured."""

_CIRCUIT_KEYS = (*TASK_KEYS, "method", "ig_steps")
_RANKING = {"ranking": "str", "seed": "Int32"}

AUDIT = Schema(
    name="audit",
    keys=("model", "variant", "step", "file"),
    columns=CHECKPOINT
    | {"file": "str", "hash": "str", "bytes": "int64", "unit": "str", "shared": "bool"}
    | {"status": "str", "same_as": "str", "instead_of": "str", "left_out": "bool"},
)
"""The weight files of every checkpoint, and whether they are those of its step."""

CHECKPOINTS = Schema(
    name="checkpoints",
    keys=("model", "variant", "step", "matrix"),
    columns=CHECKPOINT
    | {"matrix": "str", "shape": "str", "norm": "float64"}
    | dict.fromkeys(("cos_previous", "cos_next", "cos_last"), "float64")
    | {"unit": "str", "status": "str"},
)
"""The matrices of every checkpoint beside those of its neighbours and of the last step."""

BEHAVIOUR = Schema(
    name="behaviour",
    keys=(*TASK_KEYS, "metric"),
    columns=CHECKPOINT_TASK
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("value", "se", "ci_low", "ci_high", "value_corrupted"), "float64")
    | dict.fromkeys(("accuracy", "rank0", "answer_prob"), "float64")
    | {"n": "int32", "prepend_bos": "bool", "dtype": "str", "data_seed": "int32"}
    | {"n_parameters": "int64", "checkpoint": "str"},
)
"""How well each model does each task."""

BEHAVIOUR_BY_GROUP = Schema(
    name="behaviour_by_group",
    keys=(*TASK_KEYS, "metric", "group"),
    columns=CHECKPOINT_TASK
    | {"metric": "str", "unit": "str", "group": "int32", "n_prompts": "int32", "value": "float64"},
)
"""The mean metric of every group of prompts, on disk. A group is the same prompts at each step."""

EMERGENCE = Schema(
    name="emergence",
    keys=("model", "variant", "kind", "name"),
    columns={"model": "str", "variant": "str", "kind": "str", "name": "str"}
    | dict.fromkeys(("tokens_half", "tokens_half_low", "tokens_half_high"), "float64")
    | dict.fromkeys(("level_first", "level_last", "rise_low", "rise_high"), "float64")
    | {"unit": "str", "n": "Int32", "n_steps": "int32", "n_parameters": "int64", "status": "str"},
)
"""When the level of a task or of a component reaches half of its rise over training."""

EMERGENCE_TRENDS = Schema(
    name="emergence_trends",
    keys=("trend", "kind", "name", "task"),
    columns={"trend": "str", "kind": "str", "name": "str", "task": "str"}
    | dict.fromkeys(("value", "low", "high", "margin", "p_similar", "p_different"), "float64")
    | dict.fromkeys(("sd_sizes", "sd_seeds"), "float64")
    | {"unit": "str", "n_same_sign": "Int32", "n": "int32", "status": "str"},
)
"""Whether what emerges does so at the same time in all sizes, and components with their task."""

CERTIFICATE_NUMBERS = (
    *("win_share", "win_share_low", "win_share_high", "p_equivalence", "q_equivalence"),
    *("f_complement", "f_complement_low", "f_complement_high"),
    *("p_independence", "q_independence", "p_minimality", "q_minimality"),
    *("incompleteness", "incompleteness_low", "incompleteness_high", "incompleteness_empty"),
)
"""Columns of `circuit_summary` that tests of the circuit give, besides `EDGES_TESTED`."""

EDGES_TESTED = ("edges_tested", "edges_needed")

CIRCUIT_SUMMARY = Schema(
    name="circuit_summary",
    keys=_CIRCUIT_KEYS,
    columns=CHECKPOINT_TASK
    | METHOD_METRIC
    | {"ig_rule": "str", "selection": "str", "threshold": "float64", "faithfulness": "str"}
    | dict.fromkeys(("n_requested", "n_eliminated", "n_edges", "n_nodes"), "Int32")
    | dict.fromkeys(("n_edges_low", "n_edges_high"), "float64")
    | {"n_edges_total": "int32", "edge_fraction": "float64"}
    | dict.fromkeys(("m_model", "m_model_low", "m_model_high"), "float64")
    | dict.fromkeys(("m_corrupted", "m_circuit"), "float64")
    | dict.fromkeys(("f_raw", "f_raw_low", "f_raw_high", "f_norm", "f_raw_empty"), "float64")
    | dict.fromkeys(("f_raw_held_out", "f_raw_held_out_low", "f_raw_held_out_high"), "float64")
    | dict.fromkeys(CERTIFICATE_NUMBERS, "float64")
    | dict.fromkeys(EDGES_TESTED, "Int32")
    | {
        "certificate_status": "str",
        "held_out_status": "str",
        "status": "str",
        "checkpoint": "str",
        "n": "int32",
    },
)
"""Size after pruning and faithfulness: one circuit per row."""

FAITHFULNESS_CURVE = Schema(
    name="faithfulness_curve",
    keys=(*_CIRCUIT_KEYS, "n_requested"),
    columns=CHECKPOINT_TASK
    | METHOD_METRIC
    | {"n_requested": "int32", "n_edges": "int32"}
    | dict.fromkeys(("m_circuit", "f_raw", "f_norm", "f_raw_held_out"), "float64"),
)
"""Every circuit size that the search tried."""

CIRCUIT_EDGES = Schema(
    name="circuit_edges",
    keys=(*_CIRCUIT_KEYS, "order", "source", "target", "port"),
    columns=CHECKPOINT_TASK
    | METHOD
    | {"source": "str", "target": "str", "port": "str"}
    | {"score": "float32", "unit": "str", "order": "int32", "in_circuit": "bool"},
)
"""The edges of every circuit; circuit files have the scores of all edges."""

RANKING_CURVE = Schema(
    name="ranking_curve",
    keys=(*_CIRCUIT_KEYS, "ranking", "seed", "fraction"),
    columns=CHECKPOINT_TASK
    | METHOD_METRIC
    | _RANKING
    | {"fraction": "float64", "n_requested": "int32", "n_edges": "int32", "held_out": "bool"}
    | dict.fromkeys(("m_circuit", "f_raw", "f_norm"), "float64"),
)
"""Circuits of fixed shares of the edges, ranked by score, by |score|, or at random."""

RANKING_AREA = Schema(
    name="ranking_area",
    keys=(*_CIRCUIT_KEYS, "ranking", "seed"),
    columns=CHECKPOINT_TASK
    | METHOD_METRIC
    | _RANKING
    | {"held_out": "bool"}
    | dict.fromkeys(("cpr", "cmd"), "float64"),
)
"""Area under F_norm (CPR) and between F_norm and 1 (CMD), over the share of edges."""

COMPONENTS = Schema(
    name="components",
    keys=("model", "variant", "step", "score", "layer", "head"),
    columns=CHECKPOINT_TASK
    | {"score": "str"}
    | HEAD
    | {"value": "float32", "low": "float32", "high": "float32", "unit": "str"}
    | {"in_circuit": "boolean", "n": "int32", "status": "str"},
)
"""Scores of all attention heads; `in_circuit` is about the circuit of `task`."""

STABILITY = Schema(
    name="stability",
    keys=(*TASK_KEYS, "comparison", "level", "weighting", "step_next"),
    columns=CHECKPOINT_TASK
    | METHOD
    | {"comparison": "str", "level": "str", "weighting": "str", "step_next": "int64"}
    | {"jaccard": "float64", "ewma": "float64", "alpha": "float64", "unit": "str"}
    | {"size": "Int32", "size_next": "Int32", "size_matched": "Int32"}
    | dict.fromkeys(("jaccard_matched", "jaccard_chance", "jaccard_corrected"), "float64")
    | dict.fromkeys(("floor_median", "floor_low"), "float64")
    | {"changed": "boolean", "rank_correlation": "float64"},
)
"""The overlap of two circuits of one model: of two steps, or of two halves of the prompts."""

CHANGE_SOURCES = Schema(
    name="change_sources",
    keys=(*TASK_KEYS, "level", "step_next"),
    columns=CHECKPOINT_TASK
    | METHOD
    | {"level": "str", "step_next": "int64"}
    | {f"overlap_{name}": "float64" for name in ("found", "matched", "halves", "seeds")}
    | dict.fromkeys(("size_rule", "prompts", "training", "seed", "total"), "float64")
    | {"unit": "str", "n_seeds": "int32", "status": "str"},
)
"""Where the change of circuits between two steps comes from."""

TRANSFER = Schema(
    name="transfer",
    keys=(*TASK_KEYS, "control", "circuit_model", "circuit_task", "circuit_step", "draw"),
    columns=CHECKPOINT_TASK
    | METHOD
    | {"control": "str", "circuit_model": "str", "circuit_variant": "str"}
    | {"circuit_task": "str", "circuit_step": "int64", "draw": "int32", "n_edges": "Int32"}
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("m_model", "m_corrupted", "m_circuit", "f_raw", "f_norm"), "float64")
    | {"n": "int32", "status": "str"},
)
"""How well a circuit, or a control, does in the model of another step, or on another task."""

SIZE_CORRELATION = Schema(
    name="size_correlation",
    keys=("task", "level", "x"),
    columns={"task": "str", "level": "str", "x": "str", "r": "float64", "p": "float64"}
    | {"n": "int16", "n_steps": "int32", "unit": "str", "min_step": "int64"},
)
"""Whether larger models have larger circuits."""

SWAPS = Schema(
    name="swaps",
    keys=("model", "variant", "task", "head_set", "source_step", "target_step"),
    columns={"model": "str", "variant": "str", "task": "str", "head_set": "str"}
    | {"source_step": "int64", "target_step": "int64"}
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("baseline", "swapped"), "float64")
    | dict.fromkeys(("difference", "difference_low", "difference_high"), "float64")
    | {"n_draws": "Int16", "lowest_draw": "float64", "highest_draw": "float64"}
    | {"n_heads": "int16", "n": "int32", "status": "str"},
)
"""How well a model does a task with some heads taken from another step."""

CLAIMS = Schema(
    name="claims",
    keys=("claim", "subject"),
    columns=dict.fromkeys(("claim", "subject", "sentence", "measured", "controlled_by"), "str")
    | dict.fromkeys(("value", "low", "high", "control"), "float64")
    | dict.fromkeys(("p_for", "p_against", "q_for", "q_against"), "float64")
    | {"verdict": "str", "unit": "str", "counts": "str", "n": "int32", "status": "str"},
)
"""The study's sentences, tested on this run."""

REPRODUCTION = Schema(
    name="reproduction",
    keys=("statement",),
    columns=dict.fromkeys(
        ("statement", "claim", "expected", "measured", "verdict", "source"), "str"
    ),
)
"""Published statements about the Pythia models, compared with this run."""

PUBLISHED_CURVE = Schema(
    name="published_curve",
    keys=(*TASK_KEYS, "n_requested"),
    columns=CHECKPOINT_TASK | {"n_requested": "int32", "f_raw": "float64"},
)
"""The faithfulness that the authors published, of one model, on disk."""

PUBLISHED = Schema(
    name="published",
    keys=TASK_KEYS,
    columns=CHECKPOINT_TASK
    | {"metric": "str", "unit": "str", "value": "float64"}
    | dict.fromkeys(("n_requested", "n_edges", "n_nodes", "n_edges_total"), "Int32")
    | {"f_raw": "float64", "selection_jaccard": "float64"},
)
"""What the authors published of one model, step and task."""

_OVERLAP = ("jaccard", "jaccard_matched", "jaccard_chance", "floor_median", "floor_low")
AGREEMENT = Schema(
    name="agreement",
    keys=TASK_KEYS,
    columns=CHECKPOINT_TASK
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("m_model", "m_model_low", "m_model_high", "m_model_published"), "float64")
    | {"n_edges": "Int32", "n_edges_low": "float64", "n_edges_high": "float64"}
    | dict.fromkeys(("n_edges_published", "n_nodes", "n_nodes_published"), "Int32")
    | dict.fromkeys(("f_raw", "f_raw_low", "f_raw_high", "f_raw_published"), "float64")
    | {"size_matched": "Int32"}
    | dict.fromkeys([f"{level}_{name}" for level in Level for name in _OVERLAP], "float64")
    | dict.fromkeys([f"{level}_differs" for level in Level], "boolean")
    | {"rank_correlation": "float64", "status": "str"},
)
"""This run beside the authors' results."""

SCHEMAS: Mapping[str, Schema] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Schema)
}
"""Every schema of this module by its name."""
