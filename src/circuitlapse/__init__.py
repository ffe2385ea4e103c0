"""Circuitlapse: a time-lapse of the circuits inside language models.

The public names are imported when they are first used, so that the parts of the workflow
that need no model do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitlapse.attribution import attribute_edges
    from circuitlapse.evaluation import evaluate_circuits
    from circuitlapse.heads import score_heads
    from circuitlapse.models import load_model
    from circuitlapse.prompts import PromptPairs
    from circuitlapse.scores import EdgeScores
    from circuitlapse.selection import Circuit, select_by_threshold, select_circuit

_HOME = {
    "Circuit": "selection",
    "EdgeScores": "scores",
    "PromptPairs": "prompts",
    "attribute_edges": "attribution",
    "evaluate_circuits": "evaluation",
    "load_model": "models",
    "score_heads": "heads",
    "select_by_threshold": "selection",
    "select_circuit": "selection",
}

__all__ = [
    "Circuit",
    "EdgeScores",
    "PromptPairs",
    "attribute_edges",
    "evaluate_circuits",
    "load_model",
    "score_heads",
    "select_by_threshold",
    "select_circuit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'circuitlapse' has no attribute {name!r}")
    return getattr(import_module(f"circuitlapse.{_HOME[name]}"), name)
