"""When tasks and components emerge in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from circuitlapse.heads.naming import Naming
from circuitlapse.heads.registry import SCORES
from circuitlapse.schemas import BEHAVIOUR_BY_GROUP, EMERGENCE
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import percentile_interval, resampled_means
from circuitlapse.tables.base import stack
from circuitlapse.tables.components import UNITS
from circuitlapse.tables.half_level import draw_half_levels, half_level_tokens
from circuitlapse.tables.head_choice import best_at_each_step, nameable
from circuitlapse.types import Kind
from circuitlapse.types.status import EmergenceStatus

_MODEL = ["model", "variant"]


def emergence_table(
    by_group: Iterable[pd.DataFrame],
    *,
    behaviour: pd.DataFrame,
    components: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    bootstrap: Mapping[str, Any],
    lengths: Sequence[int],
    role_rule: str,
) -> pd.DataFrame:
    """Make the table `emergence`: when each task and component reaches half of its rise.

    - The level of a task is its metric; that of a component, the highest score of all heads that
      the score may name at some step.
    - The rise goes from the first to the last analysed step, of the closest curve that never
      falls. Levels of tasks are resampled by groups of prompts, the same groups at every step.
    - Nothing is known between two steps, so every resample is drawn from between the two steps
      around the half level. The interval of a component is that of this draw alone.

    Args:
        by_group: tables of single jobs, with the columns of `schemas.BEHAVIOUR_BY_GROUP`.
        behaviour: the table of that name, for the number of parameters.
        components: the table of that name.
        models: the order of rows.
        tasks: the order of rows of a model, before the components.
        bootstrap: a section `Bootstrap` of the configuration.
        lengths: numbers of random tokens behind the scores.
        role_rule: which heads a score may name; see `heads.naming`.

    Raises:
        ArtifactError: see `base.stack`.
    """
    settings, naming = Bootstrap(**bootstrap), Naming(role_rule, lengths)
    groups = stack(by_group, BEHAVIOUR_BY_GROUP, models=models, tasks=tasks)
    scores = components[components["score"].isin(list(SCORES))]
    rows = [*_of_tasks(groups, settings), *_of_components(scores, naming, settings)]
    frame = pd.DataFrame(rows, columns=[*EMERGENCE.columns])
    sizes = behaviour.groupby("model")["n_parameters"].first()
    frame["n_parameters"] = frame["model"].map(sizes)
    rank = {name: place for place, name in enumerate([*models, *tasks, *SCORES])}
    known = {"kind": {str(Kind.TASK): 0, str(Kind.COMPONENT): 1}, "model": rank, "name": rank}

    def by_rank(column: pd.Series[Any]) -> pd.Series[Any]:
        return column.map(known[str(column.name)]) if column.name in known else column

    ordered = frame.sort_values([*EMERGENCE.keys], key=by_rank, kind="stable", ignore_index=True)
    return EMERGENCE.cast(ordered)


def _of_tasks(groups: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[dict[str, Any]]:
    for (model, variant, task, unit), rows in groups.groupby([*_MODEL, "task", "unit"], sort=False):
        levels = rows.pivot(index="group", columns="tokens", values="value")
        n_prompts = rows.drop_duplicates("group").sort_values("group")["n_prompts"].to_numpy()
        # [step, prompt]: the prompts of a group stand for each other, as their mean is all we need
        values = np.repeat(levels.to_numpy(), n_prompts, axis=0).T
        of_prompt = np.repeat(np.arange(len(n_prompts)), n_prompts)
        drawn = resampled_means(values, bootstrap, of_prompt)  # [sample, step]
        found = _half_level(values.mean(1), drawn, levels.columns.to_numpy(), bootstrap)
        place = {"model": model, "variant": variant, "kind": Kind.TASK, "name": task}
        yield place | found | {"unit": unit, "n": len(n_prompts)}


def _of_components(
    components: pd.DataFrame, naming: Naming, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    for (model, variant, score), rows in components.groupby([*_MODEL, "score"], sort=False):
        best = best_at_each_step(nameable(rows, naming)).dropna()
        levels = best["value"].to_numpy(dtype=float)
        drawn = np.tile(levels, (bootstrap.samples, 1))
        found = _half_level(levels, drawn, best["tokens"].to_numpy(), bootstrap)
        if best.empty and rows["value"].notna().any():
            found["status"] = EmergenceStatus.AT_CHANCE
        place = {"model": model, "variant": variant, "kind": Kind.COMPONENT, "name": score}
        yield place | found | {"unit": UNITS[str(score)], "n": None}


def _half_level(
    levels: Float[ndarray, " step"],
    drawn: Float[ndarray, "sample step"],
    tokens: Int[ndarray, " step"],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the columns about one curve; NaN with a status where it has no half level.

    Args:
        levels: of the curve.
        drawn: its resamples.
        tokens: at its steps.
        bootstrap: seed and confidence level.
    """
    if len(levels) < 2:
        return {"n_steps": len(levels), "status": EmergenceStatus.TOO_FEW_STEPS}
    rise = percentile_interval(drawn[:, -1] - drawn[:, 0], bootstrap)
    found = {"level_first": levels[0], "level_last": levels[-1], "n_steps": len(levels)}
    found |= {"rise_low": rise[0], "rise_high": rise[1]}
    if not rise[0] > 0:
        return found | {"status": EmergenceStatus.NO_RISE}
    generator = np.random.default_rng(bootstrap.seed)
    times = draw_half_levels(drawn, tokens, generator=generator)
    low, high = percentile_interval(times[~np.isnan(times)], bootstrap)
    (half,) = half_level_tokens(levels[None], tokens)
    ends = {"tokens_half": half, "tokens_half_low": low, "tokens_half_high": high}
    return found | ends | {"status": EmergenceStatus.OK}
