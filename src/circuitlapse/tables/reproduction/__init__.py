"""Published statements about the Pythia models, tested against the tables of a run."""

from circuitlapse.tables.reproduction.base import Found, Run, judged
from circuitlapse.tables.reproduction.statements import STATEMENTS, reproduction_table

__all__ = ["STATEMENTS", "Found", "Run", "judged", "reproduction_table"]
