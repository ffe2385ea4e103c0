import pandas as pd
import pytest

from circuitlapse.figures.claims import claims_figure
from circuitlapse.schemas import CLAIMS

TEXT = {"unit": "ratio", "counts": "models", "measured": "m", "controlled_by": "c", "status": "ok"}


def row(claim, subject, q_for, q_against, verdict, n=3):
    known = {"claim": claim, "subject": subject, "sentence": f"{claim} is so", "verdict": verdict}
    return TEXT | known | {"q_for": q_for, "q_against": q_against, "n": n}


@pytest.fixture
def table():
    nan = float("nan")
    rows = [
        row("one", "all", 0.5, 0.01, "contradicted"),
        row("one", "ioi", 0.01, 1.0, "supported"),
        row("one", "sva", 1.0, 0.01, "contradicted"),
        row("one", "greater_than", 0.5, 0.6, "cannot tell"),
        row("two", "all", nan, nan, "cannot tell", n=0),
        row("two", "ioi", nan, nan, "cannot tell", n=1),
    ]
    return CLAIMS.cast(pd.DataFrame(rows, columns=[*CLAIMS.columns]))


def test_what_speaks_for_a_claim_is_right_and_what_speaks_against_it_left(table):
    _, axes = claims_figure(table).axes
    marks = {
        line.get_marker(): list(line.get_xdata())
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert marks[">"] == pytest.approx([2.0])
    assert marks["<"] == pytest.approx([-2.0])
    assert marks["o"] == pytest.approx([0.30103])


def test_every_claim_has_its_sentence_and_its_verdict(table):
    words, axes = claims_figure(table).axes
    said = [text.get_text() for text in words.texts]
    assert said == ["one is so", "m; control: c", "two is so", "m; control: c"]
    verdicts = [text.get_text() for text in axes.texts]
    assert "contradicted\n3 tested" in verdicts
    assert "nothing\nto test" in verdicts
    assert {"IOI", "SVA"} <= set(verdicts)
