import numpy as np
import pytest

from circuitlapse.heads.naming import NEED_EARLIER_HEADS, TIMES_CHANCE, Naming
from circuitlapse.heads.registry import SCORES
from circuitlapse.types import RoleRule

LENGTHS = (12, 16, 24)
CONTROLLED, PAPER = (Naming(rule, LENGTHS) for rule in (RoleRule.CONTROLLED, RoleRule.PAPER))
LATER = np.array([1, 2, 3])


@pytest.mark.parametrize("score", ["induction", "duplicate", "prev_token"])
def test_a_score_names_heads_from_twice_the_smallest_chance_of_its_lengths(score):
    """Uniform attention to the positions 0..q gives each of them 1 / (q + 1)."""
    first = {"prev_token": 1}
    means = [np.mean([1 / (q + 1) for q in range(first.get(score, s), 2 * s)]) for s in LENGTHS]
    assert CONTROLLED.least(score) == pytest.approx(2 * min(means))
    value = min(means) * np.array([1.0, 1.99, 2.01])
    assert CONTROLLED.may_name(score, LATER, value).tolist() == [False, False, True]
    assert PAPER.may_name(score, LATER, value).all()


def test_no_induction_head_and_no_name_mover_is_in_layer_0():
    layer, value = np.array([0, 1]), np.array([1.0, 1.0])
    for score in SCORES:
        found = CONTROLLED.may_name(score, layer, value, n=288).tolist()
        assert found == [score not in NEED_EARLIER_HEADS, True]
        assert PAPER.may_name(score, layer, value).all()


def test_a_chance_level_that_depends_on_the_number_of_observations_needs_it():
    assert CONTROLLED.least("succession", n=288) == pytest.approx(TIMES_CHANCE * 0.0263)
    assert CONTROLLED.least("succession") == CONTROLLED.least("copy") == -np.inf


def test_an_undefined_score_names_no_head():
    for naming in (CONTROLLED, PAPER):
        assert not naming.may_name("induction", LATER, np.full(3, np.nan)).any()
