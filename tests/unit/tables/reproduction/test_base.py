import pandas as pd
import pytest

from circuitlapse.schemas import REPRODUCTION
from circuitlapse.tables.reproduction.base import (
    NOTHING,
    Found,
    Run,
    Statement,
    judged,
    reaches,
    span,
    untrained,
)

RUN = Run(
    {"behaviour": pd.DataFrame({"model": ["a", "a", "b"], "task": "ioi", "step": [5, 0, 0]})},
    pythia_sizes={"70m": "a"},
    tasks={"ioi": "ioi", "sva": None},
    lengths=(9,),
    corruption=None,
    copy_ln="full",
)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Found("3", True), "pass"),
        (Found("3", False), "fail"),
        (Found("3", None), "inconclusive"),
        (NOTHING, "not_applicable"),
    ],
)
def test_a_verdict_says_whether_what_was_measured_agrees(found, verdict):
    statement = Statement("name", "claim", "expected", "source", lambda run: found)
    table = judged(RUN, [statement])
    REPRODUCTION.check(table, where="here")
    assert table.iloc[0].to_dict() == {
        "statement": "name",
        "claim": "claim",
        "expected": "expected",
        "measured": found.measured,
        "verdict": verdict,
        "source": "source",
    }


def test_rows_of_a_model_are_found_by_its_published_size_and_sorted_by_step():
    assert RUN.of("behaviour", "70m")["step"].tolist() == [0, 5]
    assert RUN.of("behaviour", "70m", "ioi")["step"].tolist() == [0, 5]
    for missing in (("behaviour", "160m"), ("behaviour", "70m", "sva"), ("roles", "70m", "ioi")):
        assert RUN.of(*missing).empty


def test_untrained_rows_are_those_at_step_0_of_every_model():
    assert untrained(RUN, "behaviour")["model"].tolist() == ["a", "b"]
    assert untrained(RUN, "components").empty


def test_a_span_is_one_number_where_values_look_the_same():
    assert span(pd.Series([0.25, 2.0, 1.0])) == "0.25 to 2"
    assert span(pd.Series([0.10001, 0.1])) == "0.1"


def test_rows_reach_a_step_if_one_is_there_or_later():
    rows = pd.DataFrame({"step": [1, 8]})
    assert reaches(rows, 8)
    assert not reaches(rows, 9)
    assert not reaches(rows[:0], 0)
