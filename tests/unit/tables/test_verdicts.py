from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from circuitlapse import schemas
from circuitlapse.tables.claims import claims_table
from circuitlapse.tables.claims.registry import CLAIMS
from circuitlapse.tables.claims.verdicts import Given, summed_up, verdict_of
from tests.unit.tables.claims_given import given

NAN = float("nan")


@pytest.mark.parametrize(
    ("q_for", "q_against", "verdict"),
    [
        (0.05, 1.0, "supported"),
        (1.0, 0.04, "contradicted"),
        (0.2, 0.3, "cannot tell"),
        (NAN, NAN, "cannot tell"),
        (NAN, 0.01, "contradicted"),
        (0.04, 0.001, "contradicted"),
    ],
)
def test_the_verdict_follows_from_corrected_p_values(q_for, q_against, verdict):
    assert verdict_of(q_for, q_against) == verdict


def fields_of(source: Given) -> dict:
    names = [one.name for one in fields(Given) if one.name != "level"]
    return {name: getattr(source, name) for name in names}


def summary(*pairs):
    return summed_up([{"q_for": a, "q_against": b, "verdict": verdict_of(a, b)} for a, b in pairs])


def test_a_sentence_is_about_all_subjects():
    assert summary((0.01, 1.0), (0.03, 1.0))["verdict"] == "supported"
    assert summary((0.01, 1.0), (0.5, 1.0))["verdict"] == "cannot tell"
    assert summary((0.01, 1.0), (1.0, 0.02))["verdict"] == "contradicted"
    row = summary((0.01, 1.0), (NAN, NAN))
    assert (row["verdict"], row["n"], row["q_for"]) == ("supported", 1, 0.01)
    assert summary((NAN, NAN))["status"] == "nothing_to_test"
    # what is not tested against cannot be contradicted, and does not look as if it could
    assert np.isnan(summary((0.01, NAN), (0.5, NAN))["q_against"])
    assert summary((0.01, NAN), (0.5, 0.3))["q_against"] == 0.3


def test_every_claim_has_a_row_that_sums_it_up_even_without_data():
    source = given()
    table = claims_table(bootstrap={"level": 0.95}, **fields_of(source))
    schemas.CLAIMS.check(table, where="test")
    summaries = table[table["subject"] == "all"]
    assert list(summaries["claim"]) == list(CLAIMS)
    assert set(summaries["verdict"]) == {"cannot tell"}
    assert set(summaries["status"]) == {"nothing_to_test"}


def test_p_values_are_corrected_within_a_claim():
    """Of 20 tasks one has a p of 0.02: alone it would count, among 20 it does not."""
    tasks = [f"t{place}" for place in range(20)]
    p = np.full(20, 0.9)
    p[3] = 0.02
    sizes = pd.DataFrame({"task": tasks, "level": "edge", "x": "log_params", "r": 0.5})
    sizes = sizes.assign(p=p, n=7)
    source = given(size_correlation=sizes, tasks=())
    table = claims_table(bootstrap={"level": 0.95}, **fields_of(source))
    own = table[(table["claim"] == "larger_circuits") & (table["subject"] == "t3")]
    assert own["p_for"].item() == 0.02
    assert own["q_for"].item() == pytest.approx(0.4)
    assert own["verdict"].item() == "cannot tell"
