"""The families whose models can be analysed."""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.models.families.base import Family
from circuitlapse.models.families.gpt2 import GPT2
from circuitlapse.models.families.gpt_neox import GPT_NEOX
from circuitlapse.models.families.llama import Variant, builder

LLAMA = Family("LlamaForCausalLM", builder(Variant()))

# LayerNorm without weights; large values of queries, keys and values may be clipped.
OLMO = Family("OlmoForCausalLM", builder(Variant(norm="layer", clips=True)))

# Norms after attention and MLP instead of before, and of all queries and all keys together.
OLMO2 = Family(
    "Olmo2ForCausalLM",
    builder(
        Variant(
            norms_before=None,
            norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
            qk_norm="all",
            eps=1e-5,
        )
    ),
)

# Biases of queries, keys and values, and nowhere else.
QWEN2 = Family("Qwen2ForCausalLM", builder(Variant(always_qkv_bias=True)))

# Each query and each key is normalised.
QWEN3 = Family("Qwen3ForCausalLM", builder(Variant(qk_norm="head", d_head=128)))

FAMILIES: Mapping[str, Family] = {
    family.architecture: family for family in (GPT_NEOX, GPT2, LLAMA, OLMO, OLMO2, QWEN2, QWEN3)
}
"""Architecture, as `config.json` names it -> family.

To add one, write down in what it differs from Llama, or a builder of its own beside `gpt2.py`.
"""
