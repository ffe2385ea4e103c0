"""Simulated models whose heads keep their roles, or exchange them."""

import numpy as np
import pandas as pd
import pytest

from circuitlapse.heads.algorithm.role_splits import role_splits
from circuitlapse.heads.algorithm.shares import Effects, Panel, RoleTest
from circuitlapse.schemas import ROLE_SPLITS, ROLES, TURNOVER
from circuitlapse.tables.turnover import turnover_table
from circuitlapse.types import Role

N_PROMPTS, N_HEADS = 60, 24
EFFECTS = np.zeros(N_HEADS)
EFFECTS[[3, 9, 14, 20]] = -0.4, -0.2, -0.04, -0.02
NAMED = {Role.NAME_MOVER: slice(0, 12), Role.NEGATIVE_NAME_MOVER: slice(12, 24)}
"""Half of the heads may be named by either role; most of them have no effect at all."""


def measured(effects, *, step, model="s", seed=0, noise=0.5, tests=None):
    """The roles of a step, and the overlaps of halves, from noisy effects of every prompt."""
    draw = np.random.default_rng([seed, step])
    change = effects[:, None] + draw.normal(0, noise, (N_HEADS, N_PROMPTS))
    every = np.arange(N_HEADS)
    known = {role: RoleTest(np.isin(every, every[at]), high=0.0) for role, at in NAMED.items()}
    found = Effects(change, np.ones(N_PROMPTS))
    panel = Panel("direct", "e_logits", found, known | (tests or {}))
    about = {"model": model, "variant": "", "step": step, "tokens": 10 * step, "task": "ioi"}
    named = [
        (str(role), *divmod(head, 8), found.mean[head])
        for role, mask in panel.roles.items()
        for head in np.flatnonzero(mask)
    ]
    roles = pd.DataFrame(named, columns=["role", "layer", "head", "effect"])
    roles = roles.assign(unit="ratio", n=N_PROMPTS, **about)
    splits = role_splits([panel], np.arange(N_PROMPTS), seed=0)
    return ROLES.cast(roles), ROLE_SPLITS.cast(splits.assign(**about))


def compared(*steps, status=()):
    """The table made of the steps of some models, at which the model has the status `ok`."""
    roles, splits = zip(*steps, strict=True)
    places = pd.concat(splits)[["model", "variant", "task", "step", "tokens"]].drop_duplicates()
    summary = places.assign(status="ok", n=N_PROMPTS)
    for step, word in dict(status).items():
        summary.loc[summary["step"] == step, "status"] = word
    table = turnover_table(
        splits,
        roles=pd.concat(roles),
        circuit_summary=summary,
        models=list(dict.fromkeys(places["model"])),
        task_of_builder={"ioi": "ioi"},
    )
    TURNOVER.check(table, where="test")
    return table.set_index("role")


def test_the_same_model_twice_has_not_changed():
    one, other = measured(EFFECTS, step=1), measured(EFFECTS, step=1)
    table = compared(one, tuple(frame.assign(step=2) for frame in other))
    known = table[table["status"] == "ok"]
    assert set(known.index) == {"NM", "NegNM"}
    assert known[["jaccard", "weighted"]].to_numpy() == pytest.approx(1)
    assert not known["changed"].any()
    assert (known["n_heads"] == known["n_heads_next"]).all()
    assert (known[["step", "step_next", "tokens"]] == [1, 2, 10]).all(axis=None)


def test_an_exchanged_mover_is_a_change_of_its_role_alone():
    quiet = {"noise": 0.02}
    effects = np.where(EFFECTS < -0.1, EFFECTS, 0.5)
    effects[14] = -0.3
    later = effects.copy()
    later[[3, 5]] = 0.5, -0.4  # the first name mover hands over to another head
    table = compared(measured(effects, step=1, **quiet), measured(later, step=2, **quiet))
    assert table.loc["NM", ["n_heads", "n_heads_next"]].tolist() == [2, 2]
    assert table.loc["NM", "jaccard"] == pytest.approx(1 / 3)
    assert table.loc["NM", "weighted"] == pytest.approx(0.2 / 1.0, abs=0.02)
    assert table["changed"].dropna().to_dict() == {"NM": True, "NegNM": False}


def test_a_role_that_vanishes_is_a_change():
    quiet = {"noise": 0.02}
    effects = np.where(EFFECTS < -0.1, EFFECTS, 0.5)
    none = np.full(N_HEADS, 0.5)
    row = compared(measured(effects, step=1, **quiet), measured(none, step=2, **quiet)).loc["NM"]
    assert (row["n_heads"], row["n_heads_next"], row["jaccard"]) == (2, 0, 0)
    assert row["changed"]
    assert row["floor_low"] == pytest.approx(1)


def test_changes_of_prompts_alone_are_reported_in_about_five_of_a_hundred_cases():
    """Two steps are one model on other prompts: 75 models, two roles, other noise each.

    A workflow has the same prompts at every step, so that it reports fewer.
    """
    steps = [
        measured(EFFECTS, step=step, model=f"m{seed}", seed=seed)
        for seed in range(75)
        for step in (1, 2)
    ]
    table = compared(*steps)
    known = table[table["status"] == "ok"]
    assert len(known) == 150
    assert known["jaccard"].mean() < 0.5  # most of the heads are named by noise
    assert known["changed"].mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)


def test_what_is_not_compared_says_why():
    """Roles that no panel tests are not measured; a role without heads at both steps is empty."""
    nobody = {Role.COPY_SUPPRESSION: RoleTest(np.zeros(N_HEADS, dtype=bool))}
    steps = [measured(EFFECTS, step=step, tests=nobody) for step in (1, 2, 4)]
    table = compared(*steps, status={4: "no_behaviour"}).reset_index()
    first, second = (table[table["step"] == step].set_index("role") for step in (1, 2))
    assert first["status"].to_dict() == {
        **dict.fromkeys(("NegCS", "S2I", "Ind", "Dup"), "not_measured"),
        **{"NM": "ok", "NegNM": "ok", "CS": "no_heads"},
    }
    assert first.loc["CS", ["n_heads", "n_heads_next"]].tolist() == [0, 0]
    assert set(second["status"]) == {"no_behaviour"}
    for rows in (first[first["status"] != "ok"], second):
        assert rows[["jaccard", "weighted", "changed"]].isna().all(axis=None)
    gone = compared(*steps, status={2: "duplicate"})  # no step of its own
    assert set(zip(gone["step"], gone["step_next"], strict=True)) == {(1, 4)}


def test_without_an_ioi_task_it_has_no_rows():
    table = turnover_table(
        [ROLE_SPLITS.empty()],
        roles=ROLES.empty(),
        circuit_summary=pd.DataFrame(columns=["model", "variant", "task", "step", "status"]),
        models=["s"],
        task_of_builder={"ioi": None},
    )
    TURNOVER.check(table, where="test")
    assert table.empty
