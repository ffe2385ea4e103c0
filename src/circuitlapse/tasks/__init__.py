"""Tasks: pairs of prompts that differ in what decides the next token.

Only `tokenizers`, `pandas` and the standard library are needed here, so a job that makes
prompts does not load torch.
"""

from circuitlapse.tasks.base import Builder, Draft, Pair, Task
from circuitlapse.tasks.custom import build_custom_task
from circuitlapse.tasks.registry import BUILDERS, build_task
from circuitlapse.tasks.same_tokens import refuse_other_tokens
from circuitlapse.tasks.vocabulary import Vocabulary

__all__ = [
    "BUILDERS",
    "Builder",
    "Draft",
    "Pair",
    "Task",
    "Vocabulary",
    "build_custom_task",
    "build_task",
    "refuse_other_tokens",
]
