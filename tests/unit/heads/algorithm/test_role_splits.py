"""Roles on halves of the prompts, with effects whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from circuitlapse.heads.algorithm.role_splits import COLUMNS, N_SPLITS, role_splits
from circuitlapse.heads.algorithm.shares import Effects, Panel, RoleTest
from circuitlapse.types import Role

N_PROMPTS = 40
NAMED = np.array([True, True, True, False])


def panel(change, *, named=NAMED, high=0.0, groups=None):
    tests = {Role.NAME_MOVER: RoleTest(named, high=high)}
    return Panel("direct", "e_logits", Effects(change, np.ones(change.shape[1]), groups), tests)


def test_heads_with_a_clear_effect_have_the_role_on_every_half():
    """Two heads help with -0.3 and -0.1 of the drop, one harms, and one is not named."""
    change = np.repeat([[-0.3], [-0.1], [0.2], [-0.5]], N_PROMPTS, axis=1)
    table = role_splits([panel(change)], np.arange(N_PROMPTS), seed=0)
    assert list(table) == list(COLUMNS)
    assert table["split"].tolist() == list(range(N_SPLITS))
    assert set(table["role"]) == {"NM"}
    assert table[["jaccard", "weighted"]].to_numpy() == pytest.approx(1)
    assert (table[["n_first", "n_second"]] == 2).all(axis=None)


def test_a_head_counts_on_the_half_whose_prompts_it_helps():
    """It helps on one prompt of 40, and harms a little on all others: one half names it."""
    change = np.zeros((4, N_PROMPTS))
    change[0] = -0.3
    change[1] = 0.01
    change[1, 7] = -1
    table = role_splits([panel(change)], np.arange(N_PROMPTS), seed=0)
    assert set(table["n_first"] + table["n_second"]) == {3}
    assert (table["jaccard"] == 1 / 2).all()
    share = 0.3 / (0.3 + 0.81 / 20)  # of the first head, where the second has the role too
    assert table["weighted"].to_numpy() == pytest.approx(share / (2 - share))


def test_twins_stay_together_and_effects_are_ratios_of_means():
    """The head helps on one of two twins as much as it harms on the other: no half names it."""
    change = np.zeros((4, N_PROMPTS))
    change[0, ::2], change[0, 1::2] = -1, 1 + 1e-9
    whole = role_splits([panel(change)], np.arange(N_PROMPTS) // 2, seed=0)
    assert (whole[["n_first", "n_second"]] == 0).all(axis=None)
    assert whole["jaccard"].isna().all()
    apart = role_splits([panel(change)], np.arange(N_PROMPTS), seed=0)
    assert (apart["n_first"] + apart["n_second"] > 0).any()


def test_names_that_depend_on_the_prompts_are_those_of_each_half():
    """The second head is named only by prompts among which is the eighth."""
    change = np.full((4, N_PROMPTS), -0.3)
    one = replace(panel(change), named_on=lambda rows: np.array([True, 7 in rows, False, False]))
    table = role_splits([one], np.arange(N_PROMPTS), seed=0)
    assert set(table["n_first"] + table["n_second"]) == {3}
    assert (table["jaccard"] == 1 / 2).all()


def test_a_role_that_is_not_known_has_no_rows():
    change = np.full((4, N_PROMPTS), -0.3)
    unknown = Panel("s2i", "e_nm_q", None, {})
    table = role_splits([panel(change), unknown], np.arange(N_PROMPTS), seed=0)
    assert len(table) == N_SPLITS
    assert role_splits([unknown], np.arange(N_PROMPTS), seed=0).empty
    assert role_splits([panel(change)], np.zeros(N_PROMPTS, dtype=int), seed=0).empty
