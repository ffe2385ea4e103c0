"""The families whose models can be analysed."""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.models.families.base import Family
from circuitlapse.models.families.gpt2 import GPT2
from circuitlapse.models.families.gpt_neox import GPT_NEOX
from circuitlapse.models.families.llama import LLAMA
from circuitlapse.models.families.olmo import OLMO, OLMO2
from circuitlapse.models.families.qwen import QWEN2, QWEN3

FAMILIES: Mapping[str, Family] = {
    family.architecture: family for family in (GPT_NEOX, GPT2, LLAMA, OLMO, OLMO2, QWEN2, QWEN3)
}
"""Architecture, as `config.json` names it -> family."""
