"""Qwen2, with biases of queries, keys and values, and Qwen3, with normalised queries and keys."""

from __future__ import annotations

from circuitlapse.models.families.base import Family
from circuitlapse.models.families.llama import Variant, builder

QWEN2 = Family("Qwen2ForCausalLM", "final models only", builder(Variant(always_qkv_bias=True)))
QWEN3 = Family(
    "Qwen3ForCausalLM", "final models only", builder(Variant(qk_norm="head", d_head=128))
)
