"""The testable statements of the study, and of others on the same models, against a run."""

from circuitlapse.tables.reproduction.base import Found, Run, reproduction_table
from circuitlapse.tables.reproduction.statements import STATEMENTS

__all__ = ["STATEMENTS", "Found", "Run", "reproduction_table"]
