"""What a statement is, what it is tested against, and how the verdict is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from circuitlapse.schemas import REPRODUCTION

FEW = 5
"""A test needs at least this many circuits, or steps."""
END = 100_000
"""A last step from here on counts as the end of training; Pythia has 143000 steps."""


class Verdict(StrEnum):
    """What a run says about a statement."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """It was measured, but chance explains it either way."""
    NOT_APPLICABLE = "not_applicable"
    """The run does not have the model, task, steps or settings that the statement is about."""


class Found(NamedTuple):
    """What was measured, in words, and whether it agrees; None if that cannot be told."""

    measured: str
    agrees: bool | None


NOTHING = Found("", None)
"""Nothing could be measured."""


@dataclass(frozen=True, eq=False)
class Run:
    """The tables of a run, and the settings that statements depend on.

    Attributes:
        tables: name -> table; a table that the run did not make is absent.
        pythia_sizes: size of a published model, such as 160m -> its name in the run.
        tasks: builder -> the name of its task in the run, or None.
        lengths: numbers of random tokens in the sequences that heads saw twice.
        corruption: of the task that `ioi` built; None if there is no such task.
        copy_ln: LayerNorms in copy scores, `full` or `folded`.
    """

    tables: Mapping[str, pd.DataFrame]
    pythia_sizes: Mapping[str, str]
    tasks: Mapping[str, str | None]
    lengths: Sequence[int]
    corruption: str | None
    copy_ln: str

    def of(self, table: str, size: str, builder: str | None = None) -> pd.DataFrame:
        """Return a model's rows of a table, sorted by step; empty if there are none."""
        rows = self.tables.get(table, pd.DataFrame(columns=["model", "task", "step"]))
        rows = rows[rows["model"] == self.pythia_sizes.get(size, "")]
        if builder is not None:
            rows = rows[rows["task"] == self.tasks.get(builder, "")]
        return rows.sort_values("step", kind="stable")


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement that a run can confirm or contradict."""

    name: str
    claim: str
    expected: str
    source: str
    test: Callable[[Run], Found]


def judged(run: Run, statements: Iterable[Statement]) -> pd.DataFrame:
    """Test each statement against a run; return a row each, with the columns of `REPRODUCTION`."""
    return REPRODUCTION.cast(
        pd.DataFrame(_rows(run, statements), columns=list(REPRODUCTION.columns))
    )


def _rows(run: Run, statements: Iterable[Statement]) -> Iterator[dict[str, str]]:
    for one in statements:
        measured, agrees = one.test(run)
        verdict = Verdict.INCONCLUSIVE if measured else Verdict.NOT_APPLICABLE
        if agrees is not None:
            verdict = Verdict.PASS if agrees else Verdict.FAIL
        given = {"statement": one.name, "claim": one.claim, "expected": one.expected}
        yield given | {"measured": measured, "verdict": str(verdict), "source": one.source}


def span(values: pd.Series) -> str:
    """Return "smallest to largest" of some values, or one number if these look the same."""
    ends = [f"{value:.3g}" for value in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def reaches(rows: pd.DataFrame, step: int) -> bool:
    """Return whether any row is at `step` or later."""
    return not rows.empty and bool(rows["step"].max() >= step)


def untrained(run: Run, table: str) -> pd.DataFrame:
    """Return the rows at step 0; empty if there are none."""
    rows = run.tables.get(table, pd.DataFrame(columns=["model", "task", "score", "step", "value"]))
    return rows[rows["step"] == 0]
