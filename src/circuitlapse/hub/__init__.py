"""Checkpoints of published models: from a hub, from its cache, or from a local folder.

The environment variables of `huggingface_hub` apply: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`,
`HF_HUB_OFFLINE`, `HF_TOKEN`.
"""

from __future__ import annotations

from circuitlapse.settings.environment import check_environment

check_environment(hub=False)  # before `huggingface_hub` reads the variables

from circuitlapse.hub.fetch import (  # noqa: E402
    copy_tokenizer,
    fetch_snapshot,
    fetch_tokenizer,
    link_snapshot,
)
from circuitlapse.hub.retry import RetryPolicy  # noqa: E402

__all__ = [
    "RetryPolicy",
    "copy_tokenizer",
    "fetch_snapshot",
    "fetch_tokenizer",
    "link_snapshot",
]
