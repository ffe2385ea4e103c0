"""When tasks and components emerge in training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

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
from circuitlapse.tables.emergence_trends import Emerged, emergence_trends
from circuitlapse.tables.half_level import draw_half_levels, half_level_tokens
from circuitlapse.tables.head_choice import best_at_each_step, nameable
from circuitlapse.types import Kind
from circuitlapse.types.status import EmergenceStatus

_MODEL = ["model", "variant"]


class EmergenceTables(NamedTuple):
    """When what emerges, and whether together; see `circuitlapse.schemas`."""

    emergence: pd.DataFrame
    emergence_trends: pd.DataFrame


class _Curve(NamedTuple):
    """A level over training: what it is of, its rows in `emergence`, and draws of its time."""

    row: dict[str, Any]
    drawn: Float[ndarray, " sample"]


def emergence_tables(
    by_group: Iterable[pd.DataFrame],
    *,
    behaviour: pd.DataFrame,
    components: pd.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    bootstrap: Mapping[str, Any],
    lengths: Sequence[int],
    role_rule: str,
    variants: Mapping[str, Sequence[str]],
    task_of_builder: Mapping[str, str | None],
) -> EmergenceTables:
    """Find when each task and component reaches half of its rise, and compare these times.

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
        variants: model -> all models that differ from it only in a seed, itself included.
        task_of_builder: builder -> the name of the task that it made, or None.

    Raises:
        ArtifactError: see `base.stack`.
    """
    settings, naming = Bootstrap(**bootstrap), Naming(role_rule, lengths)
    groups = stack(by_group, BEHAVIOUR_BY_GROUP, models=models, tasks=tasks)
    scores = components[components["score"].isin(list(SCORES))]
    curves = [*_of_tasks(groups, settings), *_of_components(scores, naming, settings)]
    place = {name: at for at, name in enumerate([*tasks, *SCORES])}
    curves.sort(key=lambda curve: place[curve.row["name"]])
    frame = pd.DataFrame([curve.row for curve in curves], columns=[*EMERGENCE.columns])
    sizes = behaviour.groupby("model")["n_parameters"].first()
    frame["n_parameters"] = frame["model"].map(sizes)
    trends = emergence_trends(
        [_emerged(curve, sizes) for curve in curves if curve.row["status"] == EmergenceStatus.OK],
        originals=[*variants],
        tasks_of={score: task for score, task in _tasks_of(task_of_builder) if task},
        bootstrap=settings,
    )
    return EmergenceTables(_in_order(frame, models=models, tasks=tasks), trends)


def _emerged(curve: _Curve, sizes: pd.Series[int]) -> Emerged:
    row = curve.row
    model, time = row["model"], math.log10(row["tokens_half"])
    return Emerged(model, int(sizes[model]), row["kind"], row["name"], time, np.log10(curve.drawn))


def _tasks_of(task_of_builder: Mapping[str, str | None]) -> Iterator[tuple[str, str | None]]:
    for name, score in SCORES.items():
        yield name, task_of_builder.get(score.task)


def _in_order(frame: pd.DataFrame, *, models: Sequence[str], tasks: Sequence[str]) -> pd.DataFrame:
    rank = {name: place for place, name in enumerate([*models, *tasks, *SCORES])}
    known = {"kind": {str(Kind.TASK): 0, str(Kind.COMPONENT): 1}, "model": rank, "name": rank}

    def by_rank(column: pd.Series[Any]) -> pd.Series[Any]:
        return column.map(known[str(column.name)]) if column.name in known else column

    ordered = frame.sort_values([*EMERGENCE.keys], key=by_rank, kind="stable", ignore_index=True)
    return EMERGENCE.cast(ordered)


def _of_tasks(groups: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[_Curve]:
    for (model, variant, task, unit), rows in groups.groupby([*_MODEL, "task", "unit"], sort=False):
        levels = rows.pivot(index="group", columns="tokens", values="value")
        n_prompts = rows.drop_duplicates("group").sort_values("group")["n_prompts"].to_numpy()
        # [step, prompt]: the prompts of a group stand for each other, as their mean is all we need
        values = np.repeat(levels.to_numpy(), n_prompts, axis=0).T
        of_prompt = np.repeat(np.arange(len(n_prompts)), n_prompts)
        drawn = resampled_means(values, bootstrap, of_prompt)  # [sample, step]
        place = {"model": model, "variant": variant, "kind": Kind.TASK, "name": task}
        place |= {"unit": unit, "n": len(n_prompts)}
        yield _curve(place, values.mean(1), drawn, levels.columns.to_numpy(), bootstrap)


def _of_components(
    components: pd.DataFrame, naming: Naming, bootstrap: Bootstrap
) -> Iterator[_Curve]:
    for (model, variant, score), rows in components.groupby([*_MODEL, "score"], sort=False):
        best = best_at_each_step(nameable(rows, naming)).dropna()
        levels = best["value"].to_numpy(dtype=float)
        drawn = np.tile(levels, (bootstrap.samples, 1))
        place = {"model": model, "variant": variant, "kind": Kind.COMPONENT, "name": score}
        place |= {"unit": UNITS[str(score)], "n": None}
        curve = _curve(place, levels, drawn, best["tokens"].to_numpy(), bootstrap)
        if best.empty and rows["value"].notna().any():
            curve.row["status"] = EmergenceStatus.AT_CHANCE
        yield curve


def _curve(
    place: dict[str, Any],
    levels: Float[ndarray, " step"],
    drawn: Float[ndarray, "sample step"],
    tokens: Int[ndarray, " step"],
    bootstrap: Bootstrap,
) -> _Curve:
    """Return one curve; its numbers are NaN, with a status, where it has no half level.

    Args:
        place: what it is of.
        levels: of the curve.
        drawn: its resamples.
        tokens: at its steps.
        bootstrap: seed and confidence level.
    """
    none = np.full(bootstrap.samples, np.nan)
    if len(levels) < 2:
        few = {"n_steps": len(levels), "status": EmergenceStatus.TOO_FEW_STEPS}
        return _Curve(place | few, none)
    rise = percentile_interval(drawn[:, -1] - drawn[:, 0], bootstrap)
    found = {"level_first": levels[0], "level_last": levels[-1], "n_steps": len(levels)}
    found |= {"rise_low": rise[0], "rise_high": rise[1]}
    if not rise[0] > 0:
        return _Curve(place | found | {"status": EmergenceStatus.NO_RISE}, none)
    # Of its own for every curve: where two cross between the same steps, their order is not known.
    name = f"{place['model']} {place['kind']} {place['name']}"
    generator = np.random.default_rng((bootstrap.seed, crc32(name.encode())))
    times = draw_half_levels(drawn, tokens, generator=generator)
    low, high = percentile_interval(times[~np.isnan(times)], bootstrap)
    (half,) = half_level_tokens(levels[None], tokens)
    ends = {"tokens_half": half, "tokens_half_low": low, "tokens_half_high": high}
    return _Curve(place | found | ends | {"status": EmergenceStatus.OK}, times)
