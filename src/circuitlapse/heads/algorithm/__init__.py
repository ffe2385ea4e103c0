"""The known algorithms for IOI (arXiv 2211.00593) and Greater-Than (arXiv 2305.00586), traced."""

from circuitlapse.heads.algorithm.base import IoiAlgorithm
from circuitlapse.heads.algorithm.greater_than_checks import trace_greater_than
from circuitlapse.heads.algorithm.ioi_roles import trace_ioi

__all__ = [
    "IoiAlgorithm",
    "trace_greater_than",
    "trace_ioi",
]
