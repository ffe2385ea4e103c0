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

_COUNTS = {Level.EDGE: "n_edges", Level.NODE: "n_nodes"}
_SCALES: dict[str, Callable[[ndarray], ndarray]]
_SCALES = {"log_params": np.log, "params": np.asarray}


def size_correlation_table(
    summary: pd.DataFrame,
    behaviour: pd.DataFrame,
    *,
    models: Sequence[str],
    tasks: Sequence[str],
    min_step: int,
) -> pd.DataFrame:
    """Correlate, over models, the mean size of their circuits with their number of parameters.

    The mean is over the analysed steps from `min_step` on at which there is a circuit, whatever
    its status; a model without any is left out. Sizes are those after pruning.

    Args:
        summary: the table `circuit_summary`.
        behaviour: the table `behaviour`, for the parameters.
        models: that count, one of each size.
        tasks: the order of rows.
        min_step: first step that counts.

    Returns:
        A table with the columns of `schemas.SIZE_CORRELATION`. With fewer than three models, or
        where all sizes are the same, r and p are NaN.

    Raises:
        ArtifactError: if a model is not in `behaviour`, or with more than one number of parameters.

    Source: Tigges et al. 2024 (arXiv 2407.10827), who use `params` alone.
    """
    parameters = pd.Series({model: _parameters(behaviour, model) for model in models})
    rows = []
    for task in tasks:
        counted = (summary["task"] == task) & (summary["step"] >= min_step)
        by_model = summary[counted].groupby("model")
        for level, column in _COUNTS.items():
            sizes = by_model[column].mean().astype("float64").reindex(list(models)).dropna()
            for x, scale in _SCALES.items():
                r, p = pearson(scale(parameters[sizes.index].to_numpy()), sizes.to_numpy())
                place = {"task": task, "level": level.value, "x": x}
                rows.append(place | {"r": r, "p": p, "n": len(sizes)})
    frame = pd.DataFrame(rows).assign(unit="correlation", min_step=min_step)
    return SIZE_CORRELATION.cast(frame)


def _parameters(behaviour: pd.DataFrame, model: str) -> float:
    found = behaviour.loc[behaviour["model"] == model, "n_parameters"].unique()
    if len(found) != 1:
        numbers = ", ".join(map(str, found)) or "none"
        raise ArtifactError(
            f"behaviour: n_parameters of {model} must be one number, found {numbers}"
        )
    return float(found[0])
