"""The known algorithms for IOI (arXiv 2211.00593) and Greater-Than (arXiv 2305.00586), traced."""

from circuitlapse.algorithm.base import AlgorithmStatus, IoiAlgorithm, Thresholds
from circuitlapse.algorithm.greater_than import trace_greater_than
from circuitlapse.algorithm.ioi import trace_ioi

__all__ = [
    "AlgorithmStatus",
    "IoiAlgorithm",
    "Thresholds",
    "trace_greater_than",
    "trace_ioi",
]
