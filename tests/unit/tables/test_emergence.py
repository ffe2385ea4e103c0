"""Simulated models whose tasks and components emerge at known numbers of tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.schemas import BEHAVIOUR_BY_GROUP, COMPONENTS, EMERGENCE
from circuitlapse.tables.emergence import emergence_tables
from tests.unit.tables.test_half_level import TOKENS, sigmoid

MODELS = {"s": 100, "m": 400}
HOW = {
    "models": list(MODELS),
    "tasks": ["ioi", "sva"],
    "bootstrap": {"samples": 400, "seed": 3, "level": 0.95},
    "lengths": [20],
    "role_rule": "controlled",
    "variants": {model: [model] for model in MODELS},
    "task_of_builder": {"ioi": "ioi", "greater_than": None},
}


def measured(curve, *, model="s", task="ioi", n_groups=40, seed=0, noise=0.5) -> pd.DataFrame:
    """A model on groups of one or two prompts, with a curve over `TOKENS` and noise."""
    generator = np.random.default_rng(seed)
    values = curve + generator.normal(0, noise, (n_groups, 1)) * curve.max()
    rows = [
        {"group": group, "n_prompts": 1 + group % 2, "step": step, "tokens": TOKENS[step]}
        | {"value": values[group, step]}
        for group in range(n_groups)
        for step in range(len(TOKENS))
    ]
    named = {"model": model, "variant": "", "task": task, "metric": "logit_diff", "unit": "logits"}
    return BEHAVIOUR_BY_GROUP.cast(pd.DataFrame(rows).assign(**named))


def scored(curve, *, model="s", score="induction", best=3) -> pd.DataFrame:
    """Four heads of layer 1 at half of chance, the best of which follows a curve."""
    rows = [
        {"layer": 1, "head": head, "step": step, "tokens": TOKENS[step]}
        | {"value": curve[step] if head == best else 0.01}
        for head in range(4)
        for step in range(len(TOKENS))
    ]
    named = {"model": model, "variant": "", "task": "ioi", "score": score, "unit": "probability"}
    rest = {"low": np.nan, "high": np.nan, "in_circuit": False, "n": 10, "status": "ok"}
    return COMPONENTS.cast(pd.DataFrame(rows).assign(**named, **rest))


def emerged(groups, components=()) -> pd.DataFrame:
    behaviour = pd.DataFrame({"model": [*MODELS], "n_parameters": [*MODELS.values()]})
    scores = pd.concat([COMPONENTS.empty(), *components], ignore_index=True)
    table, _ = emergence_tables(groups, behaviour=behaviour, components=scores, **HOW)
    EMERGENCE.check(table, where="test")
    return table


def test_a_task_emerges_at_the_half_of_its_rise():
    (row,) = emerged([measured(sigmoid(TOKENS, half=20_000))]).itertuples()
    assert row.status == "ok"
    assert row.tokens_half_low < 20_000 < row.tokens_half_high
    assert row.tokens_half == pytest.approx(20_000, rel=0.3)
    assert (row.n, row.n_steps, row.n_parameters, row.unit) == (40, 11, 100, "logits")
    # no less than the distance of two steps, of which nothing is known
    assert row.tokens_half_high / row.tokens_half_low > 1.8


def test_a_task_that_gets_worse_has_no_time():
    (row,) = emerged([measured(-sigmoid(TOKENS, half=20_000))]).itertuples()
    assert row.status == "no_rise"
    assert np.isnan([row.tokens_half, row.tokens_half_low, row.tokens_half_high]).all()


def test_flat_tasks_are_said_to_emerge_in_at_most_the_nominal_share_of_200_draws():
    """Groups differ at every step, but not in the mean; the interval has two tails."""
    generator, found = np.random.default_rng(2), 0
    for _ in range(200):
        frame = measured(np.zeros(len(TOKENS)))
        frame["value"] = generator.normal(size=len(frame))
        (row,) = emerged([frame]).itertuples()
        found += row.status == "ok"
    assert found / 200 < 0.025 + 0.025


def test_a_component_emerges_when_its_best_head_does():
    curve = 0.02 + sigmoid(TOKENS, half=60_000, top=0.8)
    (row,) = emerged([], [scored(curve)]).itertuples()
    assert (row.kind, row.name, row.status) == ("component", "induction", "ok")
    assert row.tokens_half_low < 60_000 < row.tokens_half_high
    assert pd.isna(row.n)


def test_a_component_at_chance_has_no_time():
    (row,) = emerged([], [scored(np.full(len(TOKENS), 0.011))]).itertuples()
    assert (row.status, row.n_steps) == ("at_chance", 0)


def test_rows_are_in_the_order_of_models_then_tasks_then_components():
    curve = sigmoid(TOKENS, half=20_000)
    frames = [measured(curve, model=m, task=t) for m in ("m", "s") for t in ("sva", "ioi")]
    table = emerged(frames, [scored(curve / 4, model="m")])
    assert list(zip(table["model"], table["name"], strict=True)) == [
        *(("s", "ioi"), ("s", "sva")),
        *(("m", "ioi"), ("m", "sva"), ("m", "induction")),
    ]


def test_times_between_the_same_two_steps_leave_their_order_open():
    """A component and its task cross between the same steps: the lag may have either sign."""
    half = 20_000
    frames = [measured(sigmoid(TOKENS, half=half), model=model) for model in MODELS]
    scores = [
        scored(0.02 + sigmoid(TOKENS, half=half, top=0.8), model=model, score="prev_token")
        for model in MODELS
    ]
    behaviour = pd.DataFrame({"model": [*MODELS], "n_parameters": [*MODELS.values()]})
    _, trends = emergence_tables(
        frames, behaviour=behaviour, components=pd.concat(scores, ignore_index=True), **HOW
    )
    (lag,) = trends[trends["trend"] == "lag"].itertuples()
    assert (lag.name, lag.task, lag.n) == ("prev_token", "ioi", 2)
    assert lag.low < -0.05
    assert lag.high > 0.05
