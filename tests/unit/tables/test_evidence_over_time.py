import pandas as pd
import pytest

from circuitlapse.schemas import EMERGENCE_TRENDS
from circuitlapse.tables.claims.evidence_over_time import across_sizes, together
from tests.unit.tables.claims_given import given


def row(trend, name, **numbers):
    known = {"trend": trend, "kind": "component", "name": name, "task": "ioi", "unit": ""}
    rest = {"sd_sizes": 0.1, "sd_seeds": 0.1, "n_same_sign": 3, "n": 3, "status": "ok"}
    return known | dict.fromkeys(("value", "low", "high"), 0.1) | {"margin": 0.3} | rest | numbers


@pytest.mark.parametrize(("function", "name"), [(across_sizes, "copy"), (together, "cspa")])
def test_each_claim_takes_the_rows_of_its_trend(function, name):
    both = {"p_similar": 0.01, "p_different": 0.9}
    rows = [row("slope", "copy", **both), row("lag", "cspa", **both)]
    found = list(function(given(emergence_trends=EMERGENCE_TRENDS.cast(pd.DataFrame(rows)))))
    (one,) = found
    assert (one.subject, one.p_for, one.p_against, one.control) == (name, 0.01, 0.9, 0.3)


def test_too_few_models_are_no_evidence():
    nan = float("nan")
    rows = [row("slope", "copy", p_similar=nan, p_different=nan, n=2, status="too_few_models")]
    (one,) = across_sizes(given(emergence_trends=EMERGENCE_TRENDS.cast(pd.DataFrame(rows))))
    assert (one.status, one.n) == ("too_few_models", 2)
