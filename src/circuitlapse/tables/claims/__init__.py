"""The study's sentences, each tested on this run: supported, contradicted, or cannot tell."""

from circuitlapse.tables.claims.verdicts import claims_table

__all__ = ["claims_table"]
