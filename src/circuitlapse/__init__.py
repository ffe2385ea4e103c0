"""Circuitlapse: a time-lapse of the circuits inside language models.

The public names are imported when they are first used, so that the parts of the workflow
that need no model do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitlapse.circuits.attribution import attribute_edges
    from circuitlapse.circuits.evaluation import evaluate_circuits
    from circuitlapse.circuits.selection import Circuit, select_by_threshold, select_circuit
    from circuitlapse.heads.scoring import score_heads
    from circuitlapse.hub.loading import load_decoder, load_model
    from circuitlapse.io.mib import write_mib
    from circuitlapse.models.batching import Limits
    from circuitlapse.models.graph import EdgeScores
    from circuitlapse.models.prompts import PromptPairs

_HOME = {
    "Circuit": "circuits.selection",
    "EdgeScores": "models.graph",
    "Limits": "models.batching",
    "PromptPairs": "models.prompts",
    "attribute_edges": "circuits.attribution",
    "evaluate_circuits": "circuits.evaluation",
    "load_decoder": "hub.loading",
    "load_model": "hub.loading",
    "score_heads": "heads.scoring",
    "select_by_threshold": "circuits.selection",
    "select_circuit": "circuits.selection",
    "write_mib": "io.mib",
}

__all__ = [
    "Circuit",
    "EdgeScores",
    "Limits",
    "PromptPairs",
    "attribute_edges",
    "evaluate_circuits",
    "load_decoder",
    "load_model",
    "score_heads",
    "select_by_threshold",
    "select_circuit",
    "write_mib",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'circuitlapse' has no attribute {name!r}")
    return getattr(import_module(f"circuitlapse.{_HOME[name]}"), name)
