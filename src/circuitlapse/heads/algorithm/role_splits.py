"""How much the heads of a role change with the prompts alone: roles by halves of the prompts.

The effects of all prompts are at hand, so that the roles of a half cost no run of the model. What
was measured with all prompts stays: the scores that name heads, the heads that receive (the name
movers whose queries are patched, and the S-inhibition heads), and which heads were tested by flips
of names; that test itself is done again. So some noise of roles that depend on these is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.heads.algorithm.shares import Effects, Panel, RoleTest
from circuitlapse.statistics import first_halves
from circuitlapse.types import MIN_SPLITS

N_SPLITS = MIN_SPLITS
"""Random halves of the prompts; fewer say nothing of the lowest 5 % of their overlaps."""
_SMALLER_AND_LARGER = (np.minimum, np.maximum)
COLUMNS = ("role", "split", "jaccard", "weighted", "n_first", "n_second")


def role_splits(
    panels: Sequence[Panel], groups: Int[ndarray, " prompt"], *, seed: int
) -> pd.DataFrame:
    """Return a row per role and split: how much the heads of the two halves have in common.

    - `jaccard`: the heads with the role by both halves, over those by either; NaN without any.
    - `weighted`: each head counts by its share in the summed |effect| of the role on its half.
    - `n_first`, `n_second`: heads with the role by each half.

    A role has no rows where it is not known, as at a step without the heads that it writes to.

    Args:
        panels: the steps of the algorithm.
        groups: of the prompts; they stay whole.
        seed: of the halves, which are those of the circuits of the same prompts.
    """
    if groups.max() == 0:  # a single group has no halves
        return pd.DataFrame(columns=list(COLUMNS))
    first = first_halves(groups, n_splits=N_SPLITS, seed=seed)
    frames = [
        _splits(panel.effects, tests, first).assign(role=str(role))
        for panel in panels
        if panel.effects is not None
        for role, test in panel.tests.items()
        for tests in [[_on(panel, test, part) for part in (first, 1 - first)]]
    ]
    return pd.concat([pd.DataFrame(columns=list(COLUMNS)), *frames], ignore_index=True)


def _on(panel: Panel, test: RoleTest, parts: Float[ndarray, "split prompt"]) -> RoleTest:
    """Return a test with the heads that each part of the prompts names, [split, head]."""
    if panel.named_on is None:
        return test
    return replace(test, named=np.array([panel.named_on(np.flatnonzero(one)) for one in parts]))


def _splits(
    effects: Effects, tests: Sequence[RoleTest], first: Float[ndarray, "split prompt"]
) -> pd.DataFrame:
    halves = [effects.on(part) for part in (first, 1 - first)]  # each [split, head]
    one, two = (test.passed(half) for test, half in zip(tests, halves, strict=True))
    sizes = [np.abs(half) * has for half, has in zip(halves, (one, two), strict=True)]
    with np.errstate(invalid="ignore"):  # without heads it is 0 / 0, which is NaN
        shares = [size / size.sum(1, keepdims=True) for size in sizes]
        overlap = (one & two).sum(1) / (one | two).sum(1)
        # As in `weighted_jaccard`; a half without heads has nothing in common with one with heads.
        smaller, larger = (of(*map(np.nan_to_num, shares)).sum(1) for of in _SMALLER_AND_LARGER)
        weighted = smaller / larger
    frame = {"split": np.arange(len(first)), "jaccard": overlap, "weighted": weighted}
    return pd.DataFrame(frame | {"n_first": one.sum(1), "n_second": two.sum(1)})
