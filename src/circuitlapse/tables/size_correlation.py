"""Whether larger models have larger circuits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy import ndarray

from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import SIZE_CORRELATION
from circuitlapse.statistics import pearson
from circuitlapse.types import Level
from circuitlapse.types.status import Status

COUNTS = {Level.EDGE: "n_edges", Level.NODE: "n_nodes"}
"""The columns of `circuit_summary` with the size of a circuit."""
_SCALES: dict[str, Callable[[ndarray], ndarray]]
_SCALES = {"log_params": np.log, "params": np.asarray}


def size_correlation_table(
    circuit_summary: pd.DataFrame,
    behaviour: pd.DataFrame,
    *,
    originals: Sequence[str],
    tasks: Sequence[str],
    min_step: int,
) -> pd.DataFrame:
    """Make the table `size_correlation`: mean circuit size against number of parameters.

    A circuit counts if its status is `ok`: one that did not reach the threshold has the size of the
    cap. A step counts, from `min_step` on, if every model has such a circuit there: sizes change
    over training, so means over different steps do not compare. Models without any such circuit are
    left out. Sizes are those after pruning.

    Args:
        circuit_summary: the table of that name.
        behaviour: the table of that name, for the number of parameters.
        originals: the models that are not variants of others, one of each size.
        tasks: the order of rows.
        min_step: the first step that counts.

    Returns:
        A table with the columns of `schemas.SIZE_CORRELATION`. With fewer than three models,
        without a shared step, or if all sizes are the same, r and p are NaN.

    Raises:
        ArtifactError: if `behaviour` does not have exactly one number of parameters for a model.

    Source: Tigges et al. 2024 (arXiv 2407.10827), who use `params` only.
    """
    parameters = pd.Series({model: _parameters(behaviour, model) for model in originals})
    rows = []
    for task in tasks:
        of_task = circuit_summary[circuit_summary["task"] == task]
        found = comparable(of_task, models=originals, min_step=min_step)
        for level, column in COUNTS.items():
            by_model = found.groupby("model")[column].mean().astype("float64")
            sizes = by_model.reindex(list(originals)).dropna()
            for x, scale in _SCALES.items():
                r, p = pearson(scale(parameters[sizes.index].to_numpy()), sizes.to_numpy())
                place = {"task": task, "level": level.value, "x": x, "r": r, "p": p}
                rows.append(place | {"n": len(sizes), "n_steps": found["step"].nunique()})
    frame = pd.DataFrame(rows).assign(unit="correlation", min_step=min_step)
    return SIZE_CORRELATION.cast(frame)


def comparable(circuits: pd.DataFrame, *, models: Sequence[str], min_step: int) -> pd.DataFrame:
    """Return the circuits of one task whose sizes can be compared between models.

    They have status `ok`, and stand at the steps from `min_step` on at which each of the models has
    such a circuit. Models without any are left out, and do not decide which steps count.
    """
    counted = circuits["model"].isin(models) & (circuits["step"] >= min_step)
    faithful = circuits[counted & (circuits["status"] == Status.OK)]
    models_at = faithful.groupby("step")["model"].nunique()
    shared = models_at.index[models_at == faithful["model"].nunique()]
    return faithful[faithful["step"].isin(shared)]


def _parameters(behaviour: pd.DataFrame, model: str) -> float:
    found = behaviour.loc[behaviour["model"] == model, "n_parameters"].unique()
    if len(found) != 1:
        numbers = ", ".join(map(str, found)) or "none"
        raise ArtifactError(
            f"behaviour: n_parameters of {model}: expected one number, found {numbers}"
        )
    return float(found[0])
