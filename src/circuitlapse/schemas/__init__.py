"""The columns, dtypes and keys of every table, in one place.

Every table is tidy: one row per observation. `tokens` is the training data seen at `step`;
`unit` is that of the metric. A number that is not defined is NaN (or missing, for a count),
never zero.
"""

from circuitlapse.schemas.base import Schema
from circuitlapse.schemas.circuits import (
    BEHAVIOUR,
    CIRCUIT_EDGES,
    CIRCUIT_SCHEMAS,
    CIRCUIT_SUMMARY,
    FAITHFULNESS_CURVE,
    RANKING_AREA,
    RANKING_CURVE,
)
from circuitlapse.schemas.heads import (
    ALGORITHM_CONSISTENCY,
    ALGORITHM_SCHEMAS,
    COMPONENTS,
    GT_ALGORITHM,
    HEAD_SCORES,
    HEADS,
    IOI_SCHEMAS,
    ROLES,
    S2I,
)
from circuitlapse.schemas.training import (
    REPRODUCTION,
    SIZE_CORRELATION,
    STABILITY,
    SWAPS,
    TRANSFER,
)

__all__ = [
    "ALGORITHM_CONSISTENCY",
    "ALGORITHM_SCHEMAS",
    "BEHAVIOUR",
    "CIRCUIT_EDGES",
    "CIRCUIT_SCHEMAS",
    "CIRCUIT_SUMMARY",
    "COMPONENTS",
    "FAITHFULNESS_CURVE",
    "GT_ALGORITHM",
    "HEADS",
    "HEAD_SCORES",
    "IOI_SCHEMAS",
    "RANKING_AREA",
    "RANKING_CURVE",
    "REPRODUCTION",
    "ROLES",
    "S2I",
    "SIZE_CORRELATION",
    "STABILITY",
    "SWAPS",
    "TRANSFER",
    "Schema",
]
