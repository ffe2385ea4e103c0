"""OLMo, whose LayerNorm has no weights, and OLMo-2, which normalises after each sublayer."""

from __future__ import annotations

from circuitlapse.models.families.base import Family
from circuitlapse.models.families.llama import Variant, builder

OLMO = Family("OlmoForCausalLM", "OLMo 1B, 7B", builder(Variant(norm="layer", clips=True)))
OLMO2 = Family(
    "Olmo2ForCausalLM",
    "OLMo-2 1B, 7B, 13B",
    builder(
        Variant(
            norms_before=None,
            norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
            qk_norm="all",
            eps=1e-5,
        )
    ),
)
