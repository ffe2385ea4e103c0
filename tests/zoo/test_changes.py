"""Hand-over and rival algorithm are told apart, at the right step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from circuitlapse import load_decoder
from circuitlapse.tables.claims.evidence_in_algorithm import algorithm_remains
from tests.planted_ioi import COUPLES, DUPLICATE, MOVERS
from tests.unit.tables.claims_given import given
from tests.zoo.changes import head_scores, measure, reported, role_edges, verdicts
from tests.zoo.ioi import ioi_pairs
from tests.zoo.lapses import CHANGE, HEIR, LAPSES, STRONGEST, SUPPRESSORS, gradual

BY_NAME = {lapse.name: lapse for lapse in LAPSES}
STEPS = (CHANGE - 1, CHANGE, CHANGE + 1)
SUDDEN = ("hand_over, sudden", "rival, sudden")


LEAST_EFFECT = 0.05
"""Heads with a smaller effect do not count: with leaks, every head has some."""


@lru_cache
def measured(name):
    """Measure on one choice of words: half of the prompts."""
    return measure(BY_NAME[name], STEPS, pairs=ioi_pairs().take(np.arange(60)))


def heads_by_role(algorithm):
    strong = algorithm.roles[algorithm.roles["effect"].abs() >= LEAST_EFFECT]
    return {
        role: frozenset(zip(rows["layer"], rows["head"], strict=True))
        for role, rows in strong.groupby("role")
    }


def test_prompts_that_swap_with_each_other_are_one_group():
    pairs = ioi_pairs()
    assert len(pairs) == 4 * len(COUPLES)
    assert pairs.n_groups == 60
    for group in range(60):
        one, other = np.flatnonzero(pairs.groups == group)
        assert pairs.clean[one].equal(pairs.corrupted[other])
        assert pairs.clean[other].equal(pairs.corrupted[one])


def test_a_gradual_change_is_half_done_around_its_step():
    done = [gradual(step) for step in range(12)]
    assert done[0] == 0
    assert done[-1] == 1
    assert done[CHANGE - 1] + done[CHANGE] == 1
    assert np.ptp(np.diff(done)[np.diff(done) > 0]) <= 0.25 / 2


def test_planted_heads_are_scored_as_what_they_are(tmp_path):
    """The duplicate-token head finds its own place too, except at place 4."""
    model = load_decoder(BY_NAME["constant"].save(tmp_path, 0))
    scores = head_scores(model).set_index(["score", "layer", "head"])["value"]
    assert scores["duplicate", *DUPLICATE] == pytest.approx(0.5, abs=0.01)
    assert scores["copy", *STRONGEST] == 100
    assert (scores["copy"] > 10).sum() == sum(gain > 0 for gain in MOVERS.values())


@pytest.mark.parametrize("name", SUDDEN)
def test_circuits_change_at_the_right_step_and_at_no_other(name):
    for statistic, steps in reported(measured(name)).items():
        if statistic.startswith("stability"):
            assert steps == {CHANGE: True, CHANGE + 1: False}, statistic


def test_a_hand_over_changes_heads_and_no_role():
    says, at = reported(measured("hand_over, sudden")), measured("hand_over, sudden").at
    assert says["turnover"] == {CHANGE: True, CHANGE + 1: False}
    assert says["roles"] == {CHANGE: False, CHANGE + 1: False}
    before, after = (heads_by_role(at[step].algorithm) for step in (CHANGE - 1, CHANGE))
    assert before.pop("NM") - after.pop("NM") == {STRONGEST}
    assert before == after
    effects = [role_edges(at[step].algorithm) for step in (CHANGE - 1, CHANGE)]
    assert effects[0]["NM", "logits", ""] < -1
    np.testing.assert_allclose(*effects, atol=0.03)


def test_a_rival_algorithm_changes_roles():
    says, at = reported(measured("rival, sudden")), measured("rival, sudden").at
    assert says["turnover"] == says["roles"] == {CHANGE: True, CHANGE + 1: False}
    after = at[CHANGE].algorithm
    assert heads_by_role(after) == {"NegNM": frozenset(SUPPRESSORS)}
    edges = role_edges(after)
    assert edges["NegNM", "logits", ""] == pytest.approx(-1, abs=0.03)
    assert edges["S2I", "NM", "q"] == pytest.approx(0, abs=0.03)
    metric = [at[step].circuit.m_model.mean() for step in STEPS]
    assert np.ptp(metric) < 0.2 * np.mean(metric)


@pytest.mark.parametrize("name", SUDDEN)
def test_the_claim_that_the_algorithm_remains_is_judged_right(name):
    """Supported where heads are handed over, contradicted by a rival; shares tell neither."""
    at = measured(name).at
    graphs = [
        at[step].algorithm.role_graph.assign(model=name, task="ioi", step=step) for step in at
    ]
    (one,) = algorithm_remains(given(models=[name], role_graph=pd.concat(graphs)))
    assert (one.subject, one.n) == (name, len(STEPS))
    if name.startswith("hand_over"):
        assert one.p_for < 0.01
        assert one.value < 0.1
    else:
        assert one.p_against < 0.01
        assert one.value > 0.9


def test_verdicts_count_hits_errors_and_false_alarms():
    rows = verdicts(measured("hand_over, sudden")).set_index("statistic")
    heads, roles = rows.loc["turnover"], rows.loc["roles"]
    assert heads[["hits", "n_true", "error", "false_alarms", "n_false"]].tolist() == [1, 1, 0, 0, 1]
    assert roles["hits"] == 0
    assert np.isnan(roles["error"])


def test_the_heir_writes_nothing_before_the_change(tmp_path):
    model = load_decoder(BY_NAME["hand_over, sudden"].save(tmp_path, CHANGE - 1))
    assert model.blocks[HEIR[0]].attn.W_O[HEIR[1]].abs().max() == 0
