"""The tables about attention heads, and about the algorithm that they carry out."""

from __future__ import annotations

from circuitlapse.schemas.base import WHERE, Schema

_HEAD = {"layer": "int16", "head": "int16"}
_OF_A_HEAD = ("model", "variant", "task", "step")

HEAD_SCORES = Schema(
    name="head_scores",
    keys=("score", "layer", "head"),
    columns={"score": "str", "layer": "int16", "head": "int16"}
    | {"value": "float32", "n": "int32", "status": "str"},
)
"""What attention heads of one model do; `score_heads` returns it, scores as they were asked for."""

HEADS = Schema(
    name="heads",
    keys=("model", "variant", "step", "score", "layer", "head"),
    columns=WHERE | dict(HEAD_SCORES.columns),
)
"""The same for one model at one step, on disk."""

COMPONENTS = Schema(
    name="components",
    keys=("model", "variant", "step", "score", "layer", "head"),
    columns=WHERE
    | {"task": "str", "score": "str"}
    | _HEAD
    | {"value": "float32", "unit": "str", "in_circuit": "boolean", "n": "int32", "status": "str"},
)
"""What every attention head does, as numbers; `in_circuit` is about the circuit of `task`."""

S2I = Schema(
    name="s2i",
    keys=(*_OF_A_HEAD, "layer", "head", "flip"),
    columns=WHERE
    | {"task": "str"}
    | _HEAD
    | {"flip": "str"}
    | dict.fromkeys(("d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2"), "float32")
    | {"unit": "str", "is_s2i": "bool", "n": "int32"},
)
"""What happens to the name movers when a head is misled about the names."""

ROLES = Schema(
    name="roles",
    keys=(*_OF_A_HEAD, "role", "layer", "head"),
    columns=WHERE
    | {"task": "str", "role": "str"}
    | _HEAD
    | {"effect": "float32", "unit": "str", "n": "int32"},
)
"""The heads of the IOI algorithm, by what they do in it."""

ALGORITHM_CONSISTENCY = Schema(
    name="algorithm_consistency",
    keys=(*_OF_A_HEAD, "panel", "denominator"),
    columns=WHERE
    | {"task": "str", "panel": "str", "denominator": "str"}
    | dict.fromkeys(("pct", "pct_low", "pct_high", "explained", "total"), "float64")
    | {"unit": "str", "n_heads": "int16", "n": "int32", "status": "str"},
)
"""Which share of an effect in the IOI circuit comes from heads with a known role."""

GT_ALGORITHM = Schema(
    name="gt_algorithm",
    keys=(*_OF_A_HEAD, "node", "check"),
    columns=WHERE
    | {"task": "str", "node": "str", "check": "str", "value": "float64", "unit": "str"}
    | {"n": "int32"},
)
"""Whether the nodes of a Greater-Than circuit do what the known algorithm does."""

ALGORITHM_SCHEMAS = (S2I, ROLES, ALGORITHM_CONSISTENCY, GT_ALGORITHM)
"""The tables that tracing the algorithms makes, in this order."""

IOI_SCHEMAS = {
    "effects": HEADS,
    "s2i": S2I,
    "roles": ROLES,
    "algorithm_consistency": ALGORITHM_CONSISTENCY,
}
"""What one job makes of the IOI algorithm, by the name of its file; `effects` become components."""
