"""The tables that compare circuits: between steps, tasks, models and parts of the prompts."""

from __future__ import annotations

from circuitlapse.schemas.base import HOW, WHERE, Schema

_OF_A_TASK = ("model", "variant", "task", "step")

STABILITY = Schema(
    name="stability",
    keys=(*_OF_A_TASK, "comparison", "level", "weighting", "step_next"),
    columns=WHERE
    | {"task": "str"}
    | HOW
    | {"comparison": "str", "level": "str", "weighting": "str", "step_next": "int64"}
    | {"jaccard": "float64", "ewma": "float64", "alpha": "float64", "unit": "str"}
    | {"size": "Int32", "size_next": "Int32"},
)
"""How much two circuits of one model have in common: of two steps, or of two halves of the
prompts at one step."""

TRANSFER = Schema(
    name="transfer",
    keys=(*_OF_A_TASK, "circuit_task", "circuit_step"),
    columns=WHERE
    | {"task": "str"}
    | HOW
    | {"circuit_task": "str", "circuit_step": "int64", "n_edges": "Int32"}
    | {"metric": "str", "unit": "str"}
    | dict.fromkeys(("m_model", "m_corrupted", "m_circuit", "f_raw", "f_norm"), "float64")
    | {"n": "int32", "status": "str"},
)
"""How well a circuit of one step or task does in the model of another step, or another task."""

SIZE_CORRELATION = Schema(
    name="size_correlation",
    keys=("task", "level", "x"),
    columns={"task": "str", "level": "str", "x": "str", "r": "float64", "p": "float64"}
    | {"n": "int16", "unit": "str", "min_step": "int64"},
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
"""How well a model does a task with some of its heads taken from another step."""

REPRODUCTION = Schema(
    name="reproduction",
    keys=("statement",),
    columns=dict.fromkeys(
        ("statement", "claim", "expected", "measured", "verdict", "source"), "str"
    ),
)
"""What the study and others found on the same models, against this run."""
