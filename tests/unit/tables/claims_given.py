"""Empty tables and settings of claims, for tests to fill in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from circuitlapse import schemas
from circuitlapse.tables.claims.verdicts import Given

N_DRAWS = 200
AT_MOST = 0.05 + 2 * np.sqrt(0.05 * 0.95 / N_DRAWS)
"""The nominal level, with two standard errors of a share over the draws."""


def given(*, models=("s", "m", "l"), sizes=None, **tables) -> Given:
    """Return tables without rows but those that are given, and a size per model."""
    numbers = list(sizes or ()) or [10 ** (5 + place) for place in range(len(models))]
    named = ("emergence_trends", "circuit_summary", "size_correlation", "stability")
    empty = {
        name: schemas.SCHEMAS[name].empty()
        for name in (*named, "algorithm_consistency", "turnover", "role_graph")
    }
    settings = {
        "originals": models,
        "tasks": ("ioi",),
        "threshold": 0.8,
        "min_step": 1,
        "seed": 0,
        "level": 0.95,
    }
    behaviour = pd.DataFrame({"model": models, "n_parameters": numbers})
    return Given(**(empty | settings | {"behaviour": behaviour} | tables))


def rows_of(schema: str, rows: list[dict]) -> pd.DataFrame:
    """Return rows of a table, with the dtypes of an empty one where nothing is given."""
    empty = schemas.SCHEMAS[schema].empty()
    return pd.concat([empty, pd.DataFrame(rows)], ignore_index=True)
