import numpy as np
import pytest

from circuitlapse.heads.algorithm import shares as module
from circuitlapse.heads.algorithm.shares import (
    N_PERMUTATIONS,
    Effects,
    Panel,
    RoleTest,
    consistency_rows,
)
from circuitlapse.schemas import CONSISTENCY_NUMBERS
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import Role
from circuitlapse.types.status import AlgorithmStatus

BOOTSTRAP = Bootstrap(samples=200, level=0.95, seed=3)
MEAN = np.array([-1.0, -0.5, 0.5, 0.0])
EFFECTS = Effects(np.repeat(MEAN[:, None], 12, axis=1), np.ones(12))
"""Effects of four heads, without noise."""


def mask(*heads, n=4):
    return np.isin(np.arange(n), heads)


def panel(*heads, effects=EFFECTS, status=AlgorithmStatus.OK, roles=1, **options):
    tests = dict.fromkeys(list(Role)[:roles], RoleTest(mask(*heads, n=len(effects.mean))))
    return Panel("direct", "e_logits", effects, tests, status, **options)


def rows_of(*heads, in_circuit=(0, 1, 2, 3), min_total=0.0, **options):
    inside = None if in_circuit is None else mask(*in_circuit)
    rows = consistency_rows(panel(*heads, **options), inside, BOOTSTRAP, min_total=min_total)
    return {(row["denominator"], row["sign"]): row for row in rows}


def test_effects_are_ratios_of_means():
    effects = Effects(np.array([[-3.0, -1.0], [2.0, 0.0]]), np.array([3.0, 1.0]))
    assert effects.mean.tolist() == [-1, 0.5]


@pytest.mark.parametrize(
    ("row", "explained", "total", "n_heads"),
    [
        (("circuit", "both"), 1.0, 1.5, 1),
        (("all", "both"), 1.5, 2.0, 2),
        (("all", "negative"), 1.0, 1.5, 1),
        (("all", "positive"), 0.5, 0.5, 1),
        (("circuit", "negative"), 1.0, 1.5, 1),
    ],
)
def test_shares_are_those_worked_out_by_hand(row, explained, total, n_heads):
    """Heads 0 and 2 have a role; 0, 1 and 3 are in the circuit; 0 and 1 do harm if corrupted."""
    found = rows_of(0, 2, in_circuit=(0, 1, 3))[row]
    assert (found["explained"], found["total"]) == pytest.approx((explained, total))
    assert found["pct"] == pytest.approx(100 * explained / total)
    assert found["pct_low"] == pytest.approx(found["pct"])
    assert found["total_low"] == pytest.approx(found["total_high"])
    assert (found["n_heads"], found["status"]) == (n_heads, "ok")


def test_no_head_of_a_circuit_with_an_effect_leaves_the_share_undefined():
    row = rows_of(0, 2, in_circuit=(0, 1, 3))["circuit", "positive"]
    assert np.isnan([row["pct"], row["pct_low"], row["pct_high"], row["p"]]).all()
    assert (row["explained"], row["total"], row["status"]) == (0, 0, "no_effect")


def test_a_small_total_has_no_share_but_is_said():
    row = rows_of(0, min_total=2.5)["all", "both"]
    assert np.isnan([row["pct"], row["null_high"], row["p"]]).all()
    assert row["total"] == pytest.approx(2)
    assert row["status"] == "small_total"
    assert rows_of(0, min_total=1.9)["all", "both"]["status"] == "ok"


def test_a_head_with_two_roles_counts_once():
    assert rows_of(0, roles=2)["all", "both"]["pct"] == rows_of(0)["all", "both"]["pct"]


def test_without_heads_the_share_is_zero_and_no_better_than_chance():
    row = rows_of()["all", "both"]
    assert (row["pct"], row["n_heads"], row["p"]) == (0, 0, 1)


def test_without_a_circuit_only_the_share_in_the_circuit_is_missing():
    for (denominator, _), row in rows_of(0, 2, in_circuit=None).items():
        assert row["status"] == ("no_circuit" if denominator == "circuit" else "ok")


def test_where_roles_are_not_known_no_share_is():
    for row in rows_of(0, status=AlgorithmStatus.NO_NAME_MOVERS).values():
        assert row["status"] == "no_name_movers"
        assert np.isnan([row[name] for name in CONSISTENCY_NUMBERS]).all()


def test_the_joint_effect_is_that_of_the_heads_with_a_role_that_count_patched_together():
    asked = []

    def together(sets):
        asked.extend(sets)
        return np.array([np.full(12, -0.1 * heads.sum()) for heads in sets])

    row = rows_of(0, 2, in_circuit=(0, 1, 3), together=together)
    assert row["all", "both"]["joint"] == pytest.approx(-0.2)
    assert row["circuit", "both"]["joint_low"] == pytest.approx(-0.1)
    assert row["circuit", "positive"]["joint"] == 0
    assert [heads.tolist() for heads in asked][3] == mask(0, 2).tolist()


# Chance: the null, and noise.


def noisy(mean, n, draw, *, noise):
    """Effects of heads with some true means, measured on n prompts."""
    span = 1 + 0.3 * draw.normal(size=n)
    change = np.outer(mean, span) + noise * draw.normal(size=(len(mean), n))
    return Effects(change, span)


def test_the_null_is_the_share_of_shuffled_names():
    """One of four heads is named: shares of 0, 25 and 50 %, with |effects| 2, 1, 1, 0 over 4."""
    row = rows_of(0)["all", "both"]
    assert row["pct"] == pytest.approx(50)
    assert row["p"] == pytest.approx(0.25, abs=0.05)
    assert row["null_high"] == pytest.approx(50)
    assert rows_of(0, eligible=mask(0, 3))["all", "both"]["p"] == pytest.approx(0.5, abs=0.06)
    assert rows_of(0, eligible=mask(0))["all", "both"]["p"] == 1


def test_shuffled_roles_are_rejected_at_the_nominal_rate():
    """200 models of 144 heads with effects of all sizes, and 12 heads named at random."""
    draw, p = np.random.default_rng(0), []
    for _ in range(200):
        mean = draw.normal(size=144) ** 3 / 40
        effects = noisy(mean, 40, draw, noise=0.02)
        named = draw.permutation(144)[:12]
        few = Bootstrap(samples=100, seed=int(draw.integers(1000)))
        rows = list(consistency_rows(panel(*named, effects=effects), None, few))
        p += [row["p"] for row in rows if (row["denominator"], row["sign"]) == ("all", "both")]
    assert len(p) == 200
    for level in (0.05, 0.2, 0.5):
        # Three standard errors of a coin with this probability, thrown 200 times.
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=3 * np.sqrt(level / 200))
    assert min(p) >= 1 / (1 + N_PERMUTATIONS)


TRUE = (-0.5, -0.3, -0.1, 0.1)
"""Effects of the heads that have one; their |effects| sum to 1."""


def measured(n_heads, n_groups, draw, *, named=4):
    """The row of a model in which noise is a third of the plain sum of |effects|."""
    mean = np.zeros(n_heads)
    mean[: len(TRUE)] = TRUE
    noise = 0.5 / (n_heads * np.sqrt(2 / np.pi) / np.sqrt(n_groups))
    effects = noisy(mean, n_groups, draw, noise=noise)
    few = Bootstrap(samples=100, seed=int(draw.integers(10**6)))
    given = panel(*range(named), effects=effects)
    rows = consistency_rows(given, None, few)
    row = next(row for row in rows if (row["denominator"], row["sign"]) == ("all", "both"))
    return row | {"plain": np.abs(effects.mean).sum()}


@pytest.mark.parametrize("n_groups", [50, 100, 200])
@pytest.mark.parametrize("n_heads", [50, 144, 1024])
def test_intervals_of_shares_and_totals_cover_the_truth(n_heads, n_groups, monkeypatch):
    """Four heads carry all; three of them, 0.9 of the total, have a role; all others do nothing."""
    monkeypatch.setattr(module, "N_PERMUTATIONS", 1)  # the null plays no part
    draw, n = np.random.default_rng(n_heads + n_groups), 300
    rows = [measured(n_heads, n_groups, draw, named=3) for _ in range(n)]
    total = np.mean([row["total"] for row in rows])
    assert np.mean([row["plain"] for row in rows]) > 1.4
    assert total == pytest.approx(1, abs=0.02)
    for name, truth in {"total": 1.0, "pct": 90.0}.items():
        inside = [row[f"{name}_low"] <= truth <= row[f"{name}_high"] for row in rows]
        # Within 3 points, and two standard errors of the simulation itself.
        allowed = 0.03 + 2 * np.sqrt(0.05 * 0.95 / n)
        assert np.mean(inside) == pytest.approx(0.95, abs=allowed)
