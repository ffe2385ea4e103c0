"""Turnover and self-repair with a known correlation over steps."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.schemas import HAND_OVER, SELF_REPAIR, TURNOVER
from circuitlapse.tables.hand_over import hand_over_table


def simulated(repaired, moved, *, model="s", role="NM"):
    """The rows of a role: at step i `repaired[i]`, and `moved[i]` of its heads change after it."""
    about = {"model": model, "variant": "", "task": "ioi", "role": role, "n": 50, "status": "ok"}
    steps = [
        {"step": step, "tokens": 10 * step, "step_next": step + 1} for step in range(len(moved))
    ]
    frame = pd.DataFrame(steps).assign(repaired=repaired, jaccard=1 - np.asarray(moved), **about)
    missing = {**TURNOVER.columns, **SELF_REPAIR.columns}.keys() - {*frame.columns, "changed"}
    frame = frame.assign(unit="share", **dict.fromkeys(missing - {"unit"}, 1.0), changed=False)
    return TURNOVER.cast(frame), SELF_REPAIR.cast(frame)


def made(*pairs):
    turnover, repair = (pd.concat(frames) for frames in zip(*pairs, strict=True))
    models = list(dict.fromkeys(turnover["model"]))
    table = hand_over_table(turnover=turnover, self_repair=repair, models=models, tasks=["ioi"])
    HAND_OVER.check(table, where="test")
    return table


def test_heads_that_change_where_much_is_repaired_are_found_whatever_the_units():
    repaired = np.array([0.1, 0.5, 0.2, 0.9, 0.3, 0.7])
    rising = simulated(repaired, repaired**3)
    falling = simulated(repaired, 1 - repaired, role="CS")
    table = made(rising, falling).set_index("role")
    assert table["r"].to_dict() == pytest.approx({"NM": 1.0, "CS": -1.0})
    assert table["p"].to_numpy() == pytest.approx(2 / 720)
    assert table["n"].tolist() == [6, 6]


def test_without_a_relation_a_small_p_is_as_rare_as_it_says():
    draw = np.random.default_rng(0)
    pairs = [simulated(*draw.random((2, 6)), model=f"m{number}") for number in range(200)]
    p = made(*pairs)["p"]
    assert (p <= 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.1)


def test_a_correlation_that_is_not_defined_says_why():
    nan = np.nan
    table = made(
        simulated([0.1, nan, 0.3], [0.2, 0.5, nan], role="NM"),
        simulated([0.1, 0.2, 0.3], [0.0, 0.0, 0.0], role="CS"),
        simulated([0.1, 0.2, nan, 0.4], [0.3, 0.2, 0.9, 0.1], role="S2I"),
    ).set_index("role")
    assert table["status"].to_dict() == {"NM": "too_few_steps", "CS": "constant", "S2I": "ok"}
    assert table["n"].to_dict() == {"NM": 1, "CS": 3, "S2I": 3}
    assert table.loc[["NM", "CS"], ["r", "p"]].isna().all(axis=None)
    assert table.loc["S2I", "r"] == pytest.approx(-1)


def test_without_turnover_it_has_no_rows():
    given = {"turnover": TURNOVER.empty(), "self_repair": SELF_REPAIR.empty()}
    table = hand_over_table(**given, models=[], tasks=[])
    HAND_OVER.check(table, where="test")
    assert table.empty
