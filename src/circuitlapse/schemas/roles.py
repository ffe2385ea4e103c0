"""The schemas about attention heads: their scores, and their roles in known algorithms."""

from __future__ import annotations

from circuitlapse.schemas.base import CHECKPOINT, CHECKPOINT_TASK, HEAD, TASK_KEYS, Schema

HEAD_SCORES = Schema(
    name="head_scores",
    keys=("score", "layer", "head"),
    columns={"score": "str", "layer": "int16", "head": "int16"}
    | {"value": "float32", "low": "float32", "high": "float32", "n": "int32", "status": "str"},
)
"""Scores of the attention heads of one model, as `score_heads` returns them."""

HEADS = Schema(
    name="heads",
    keys=("model", "variant", "step", "score", "layer", "head"),
    columns=CHECKPOINT | dict(HEAD_SCORES.columns),
)
"""The same with the model and step, on disk."""

S2I = Schema(
    name="s2i",
    keys=(*TASK_KEYS, "layer", "head", "flip"),
    columns=CHECKPOINT_TASK
    | HEAD
    | {"flip": "str"}
    | dict.fromkeys(("d_logit_diff", "d_logit_diff_low", "d_logit_diff_high"), "float32")
    | dict.fromkeys(("d_attn_io", "d_attn_s1", "d_attn_s2"), "float32")
    | {"unit": "str"}
    | dict.fromkeys(("by_position", "by_token", "is_s2i"), "bool")
    | {"n": "int32"},
)
"""What the name movers do when a head gets the names of another prompt."""

ROLES = Schema(
    name="roles",
    keys=(*TASK_KEYS, "role", "layer", "head"),
    columns=CHECKPOINT_TASK
    | {"role": "str"}
    | HEAD
    | {"effect": "float32", "unit": "str", "n": "int32"},
)
"""The heads of the IOI algorithm and their roles."""

ROLE_SPLITS = Schema(
    name="role_splits",
    keys=(*TASK_KEYS, "role", "split"),
    columns=CHECKPOINT_TASK
    | {"role": "str", "split": "int16", "jaccard": "float64", "weighted": "float64"}
    | {"n_first": "int16", "n_second": "int16"},
)
"""The overlap of the heads of a role by two halves of the prompts, on disk."""

TURNOVER = Schema(
    name="turnover",
    keys=(*TASK_KEYS, "step_next", "role"),
    columns=CHECKPOINT_TASK
    | {"step_next": "int64", "role": "str", "n_heads": "Int32", "n_heads_next": "Int32"}
    | dict.fromkeys(("jaccard", "weighted", "floor_median", "floor_low"), "float64")
    | {"changed": "boolean", "unit": "str", "n": "int32", "status": "str"},
)
"""The overlap of the heads of a role at two neighbouring steps."""

CONSISTENCY_NUMBERS = (
    *("pct", "pct_low", "pct_high", "null_high", "p", "explained"),
    *("total", "total_low", "total_high", "joint", "joint_low", "joint_high"),
)
"""Columns of `algorithm_consistency` that may be undefined."""

ALGORITHM_CONSISTENCY = Schema(
    name="algorithm_consistency",
    keys=(*TASK_KEYS, "panel", "denominator", "sign"),
    columns=CHECKPOINT_TASK
    | {"panel": "str", "denominator": "str", "sign": "str"}
    | dict.fromkeys(CONSISTENCY_NUMBERS, "float64")
    | {"unit": "str", "n_heads": "int16", "n": "int32", "status": "str"},
)
"""How much of an effect in the IOI algorithm comes from heads with a known role."""

ROLE_GRAPH_NUMBERS = ("effect", "effect_low", "effect_high", "null_mean", "null_low", "null_high")
"""Columns of `role_graph` that are measured, not counted."""

ROLE_GRAPH = Schema(
    name="role_graph",
    keys=(*TASK_KEYS, "source", "target", "port"),
    columns=CHECKPOINT_TASK
    | {"source": "str", "target": "str", "port": "str"}
    | dict.fromkeys(ROLE_GRAPH_NUMBERS, "float64")
    | {"unit": "str", "n_source": "int16", "n_target": "int16", "n": "int32", "status": "str"},
)
"""What the heads of a role do along the path to the logits, or to the heads of another role."""

SELF_REPAIR_NUMBERS = (
    *("direct", "direct_low", "direct_high", "total", "total_low", "total_high"),
    *("repaired", "repaired_low", "repaired_high"),
    *("null_repaired_mean", "null_repaired_low", "null_repaired_high"),
)
"""Columns of `self_repair` that are measured, not counted."""

SELF_REPAIR = Schema(
    name="self_repair",
    keys=(*TASK_KEYS, "role"),
    columns=CHECKPOINT_TASK
    | {"role": "str"}
    | dict.fromkeys(SELF_REPAIR_NUMBERS, "float64")
    | {"unit": "str", "n_heads": "int16", "n": "int32", "status": "str"},
)
"""How much of the direct effect of a role other parts of the model make up for."""

HAND_OVER = Schema(
    name="hand_over",
    keys=("model", "variant", "task", "role"),
    columns={"model": "str", "variant": "str", "task": "str", "role": "str"}
    | {"r": "float64", "p": "float64", "unit": "str", "n": "int32", "status": "str"},
)
"""Whether the heads of a role change more after steps at which more of its effect is repaired."""

GT_ALGORITHM = Schema(
    name="gt_algorithm",
    keys=(*TASK_KEYS, "node", "check"),
    columns=CHECKPOINT_TASK
    | {"node": "str", "check": "str", "value": "float64", "unit": "str"}
    | {"n": "int32"},
)
"""Whether the nodes of a Greater-Than circuit do what the known algorithm says."""

IOI_SCHEMAS = {
    "effects": HEADS,
    "s2i": S2I,
    "roles": ROLES,
    "algorithm_consistency": ALGORITHM_CONSISTENCY,
    "role_graph": ROLE_GRAPH,
    "role_splits": ROLE_SPLITS,
    "self_repair": SELF_REPAIR,
}
"""The files that one job writes about the IOI algorithm.

`effects` go into `components`, and `role_splits` into `turnover`.
"""
