"""The testable statements of the study, and of others on the same models, against a run."""

from circuitlapse.reproduction.base import Found, Run, reproduction_table
from circuitlapse.reproduction.statements import STATEMENTS

__all__ = ["STATEMENTS", "Found", "Run", "reproduction_table"]
