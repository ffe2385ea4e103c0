import numpy as np
import pytest

from circuitlapse.heads.algorithm.base import Effects, Panel, consistency_rows
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import bootstrap_interval
from circuitlapse.types import AlgorithmStatus, Role

BOOTSTRAP = Bootstrap(samples=200, level=0.9, seed=3)
CHANGE = np.array([[-3.0, -1.0], [0.0, -2.0], [2.0, 0.0], [-1.0, 1.0]])
SPAN = np.array([3.0, 1.0])
"""Means over two prompts: -2, -1, 1, 0 over 2. So effects are -1, -0.5, 0.5 and 0."""


def panel(*heads, effects=None, status=AlgorithmStatus.OK, roles=1):
    mask = np.isin(np.arange(4), heads)
    both = dict.fromkeys(list(Role)[:roles], mask)
    return Panel("direct", "e_logits", effects or Effects(CHANGE, SPAN), both, status)


def rows_of(*heads, in_circuit=(0, 1, 2, 3), **options):
    inside = None if in_circuit is None else np.isin(np.arange(4), in_circuit)
    rows = consistency_rows(panel(*heads, **options), inside, BOOTSTRAP)
    return {row["denominator"]: row for row in rows}


def test_effects_are_ratios_of_means():
    assert Effects(CHANGE, SPAN).mean.tolist() == [-1, -0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("denominator", "explained", "total", "n_heads"),
    [("circuit", 1.0, 1.5, 1), ("all", 1.5, 2.0, 2), ("harmful", 1.0, 1.5, 1)],
)
def test_shares_are_those_worked_out_by_hand(denominator, explained, total, n_heads):
    """Heads 0 and 2 have a role; 0, 1 and 3 are in the circuit; 0 and 1 do harm if corrupted."""
    row = rows_of(0, 2, in_circuit=(0, 1, 3))[denominator]
    assert (row["explained"], row["total"], row["n_heads"]) == (explained, total, n_heads)
    assert row["pct"] == pytest.approx(100 * explained / total)
    assert row["status"] == "ok"


def test_a_head_with_two_roles_counts_once():
    assert rows_of(0, roles=2) == rows_of(0)


def test_without_heads_the_share_is_zero():
    for row in rows_of().values():
        assert (row["pct"], row["pct_low"], row["pct_high"], row["n_heads"]) == (0, 0, 0, 0)


def test_without_any_effect_there_is_no_share():
    row = rows_of(3, in_circuit=(3,))["circuit"]
    assert np.isnan([row["pct"], row["pct_low"], row["pct_high"]]).all()
    assert (row["explained"], row["total"], row["status"]) == (0, 0, "no_effect")


def test_without_a_circuit_only_the_share_in_the_circuit_is_missing():
    rows = rows_of(0, in_circuit=None)
    assert {name: row["status"] for name, row in rows.items()} == {
        "circuit": "no_circuit", "all": "ok", "harmful": "ok",
    }  # fmt: skip


def test_where_roles_are_not_known_no_share_is():
    for row in rows_of(0, status=AlgorithmStatus.NO_NAME_MOVERS).values():
        assert row["status"] == "no_name_movers"
        assert np.isnan(row["pct"])


def test_intervals_are_those_of_a_loop_over_resamples():
    draw = np.random.default_rng(0)
    effects = Effects(draw.normal(-1, 2, size=(4, 12)), draw.normal(3, 1, size=12))
    inside = np.array([True, True, False, True])

    def literal(*means):
        changes, span = np.stack(means[:-1]), means[-1]  # [head, sample] and [sample]
        out = np.empty(span.shape)
        for at in range(len(out)):
            means = [changes[head, at] / span[at] for head in range(4)]
            weights = {
                "circuit": [abs(e) * kept for e, kept in zip(means, inside, strict=True)],
                "all": [abs(e) for e in means],
                "harmful": [-e if e < 0 else 0 for e in means],
            }[denominator]
            out[at] = 100 * (weights[0] + weights[2]) / sum(weights)
        return out

    for row in consistency_rows(panel(0, 2, effects=effects), inside, BOOTSTRAP):
        denominator = row["denominator"]
        low, high = bootstrap_interval((*effects.change, effects.span), literal, BOOTSTRAP)
        assert (row["pct_low"], row["pct_high"]) == pytest.approx((low, high))
        assert low <= row["pct"] <= high


def test_intervals_are_over_groups_of_prompts():
    """Prompts that come twice, as one group each, have the intervals that they have once."""
    draw = np.random.default_rng(0)
    once = Effects(draw.normal(-1, 2, size=(4, 12)), draw.normal(3, 1, size=12))
    groups = np.repeat(np.arange(12), 2)
    twice = Effects(once.change[:, groups], once.span[groups], groups)
    rows = [[*consistency_rows(panel(0, 2, effects=e), None, BOOTSTRAP)] for e in (once, twice)]
    for one, other in zip(*rows, strict=True):
        for end in ("pct_low", "pct_high"):
            assert one[end] == pytest.approx(other[end], nan_ok=True)


@pytest.mark.xfail(strict=True, reason="noise makes every |effect| too large")
def test_heads_without_an_effect_add_nothing_to_the_total():
    draw = np.random.default_rng(0)
    effects = Effects(0.1 * draw.normal(size=(1024, 100)), np.ones(100))
    given = Panel("direct", "e_logits", effects, {Role.NAME_MOVER: np.arange(1024) < 4})
    rows = {row["denominator"]: row for row in consistency_rows(given, None, BOOTSTRAP)}
    assert rows["all"]["total"] == pytest.approx(0, abs=1)
