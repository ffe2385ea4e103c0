"""Reading a user's file of prompts, CSV or JSON Lines, row by row with line numbers."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from circuitlapse.errors import TaskError
from circuitlapse.types import MIN_PROMPTS

PROMPTS = ("clean", "corrupted")
ANSWERS = ("correct", "wrong")
GROUP = "group"
SEPARATOR = "|"
"""Between the answers of one CSV cell."""
LISTED = 20
"""At most this many bad rows are listed; often every row has the same mistake."""

_NOT_UTF8 = "is not UTF-8 text; save it as UTF-8"


@dataclass(frozen=True)
class Row:
    """One row of the file, not yet checked.

    Attributes:
        line: number of its first line, from 1.
        cells: column -> value.
        problem: why it cannot be read, or "".
    """

    line: int
    cells: dict[str, Any]
    problem: str = ""


def read_rows(path: Path) -> list[Row]:
    """Read a file that ends in `.csv` (first line: names of the columns) or `.jsonl`.

    Raises:
        TaskError: if it does not exist, cannot be read, is of another kind or not UTF-8, or a CSV
            file lacks a column or has one twice.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise TaskError(f"{path}: must be a file of prompts that ends in {' or '.join(readers)}")
    if not path.is_file():
        raise TaskError(f"{path}: no such file; give its path relative to the working directory")
    try:
        with _opened(path) as stream:
            return list(readers[path.suffix](stream))
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: {_NOT_UTF8} ({error})") from error
    except csv.Error as error:
        raise TaskError(f"{path}: is not valid CSV ({error}); is a quote left open?") from error
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror})") from error
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error


def check_file(path: Path) -> None:
    """Check everything in a file that does not need a tokenizer.

    Raises:
        TaskError: see `read_rows`; or rows break a rule, or there are too few of them.
    """
    rows = read_rows(path)
    refuse_bad_rows(path, {row.line: _plain_problems(row) for row in rows})


def refuse_bad_rows(path: Path, found: Mapping[int, Sequence[str]]) -> None:
    """Raise an error that lists the bad rows of a file.

    Args:
        path: the file.
        found: line -> what is wrong with its row; empty for a good row.

    Raises:
        TaskError: with the first `LISTED` bad rows; or there are fewer than `MIN_PROMPTS` rows.
    """
    bad = [f"  line {line}: {'; '.join(what)}" for line, what in found.items() if what]
    if bad:
        more = [f"  and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
        listing = "\n".join([*bad[:LISTED], *more])
        raise TaskError(f"{path}: {len(bad)} of {len(found)} rows break a rule\n{listing}")
    if len(found) < MIN_PROMPTS:
        raise TaskError(
            f"{path}: has {len(found)} prompt pairs, but a task needs at least {MIN_PROMPTS}, "
            "the smallest n_prompts"
        )


def cell_problems(row: Row) -> list[str]:
    """Return why the cells of a row cannot be read as prompts and answers."""
    if row.problem:
        return [row.problem]
    return [
        f"{column} must be {wanted}, found {row.cells[column]!r}"
        for columns, wanted, fits in (
            (PROMPTS, "text", _is_text),
            (ANSWERS, 'text like " she" or a list of texts', _is_answers),
        )
        for column in columns
        if not fits(row.cells[column])
    ] + _group_problems(row.cells.get(GROUP))


def prompt_problem(side: str, text: str) -> str:
    """Return what is wrong with a prompt for every tokenizer, or ""."""
    if not text.strip():
        return f"{side} is empty"
    if text[-1].isspace() and not text.endswith("\n"):
        return f"{side} ends in a space, which belongs in front of the answers instead"
    return ""


def answers_of(row: Row, side: str) -> tuple[str, ...]:
    """Return the answers in one cell, which is text or a list of texts."""
    cell = row.cells[side]
    return (cell,) if isinstance(cell, str) else tuple(cell)


def group_of(row: Row) -> str:
    """Return the name of the row's group, which may be a number; "" for none."""
    cell = row.cells.get(GROUP)
    return "" if cell is None else str(cell).strip()


def _group_problems(cell: Any) -> list[str]:
    if cell is None or _is_text(cell) or (isinstance(cell, int) and not isinstance(cell, bool)):
        return []
    return [f"{GROUP} must be text or a whole number, found {cell!r}"]


def _plain_problems(row: Row) -> list[str]:
    if problems := cell_problems(row):
        return problems
    problems = [prompt_problem(side, row.cells[side]) for side in PROMPTS]
    answers = {side: answers_of(row, side) for side in ANSWERS}
    problems += [f"{side} has an empty answer" for side in ANSWERS if "" in answers[side]]
    problems += [f"{side} has no answer" for side in ANSWERS if not answers[side]]
    problems += [
        f"{side} has an answer twice"
        for side in ANSWERS
        if len(set(answers[side])) < len(answers[side])
    ]
    if row.cells["clean"] == row.cells["corrupted"]:
        problems.append("clean and corrupted are the same")
    correct, wrong = (set(answers[side]) - {""} for side in ANSWERS)
    if both := sorted(correct & wrong):
        shared = ", ".join(map(repr, both))
        problems.append(f"{shared} is among the correct and the wrong answers")
    return [problem for problem in problems if problem]


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str)


def _is_answers(cell: Any) -> bool:
    return _is_text(cell) or (isinstance(cell, list) and all(map(_is_text, cell)))


def _opened(path: Path) -> TextIO:
    # utf-8-sig: spreadsheets put a byte order mark in front
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(stream: TextIO) -> Iterator[Row]:
    reader = csv.reader(stream)
    header = next(reader, [])
    if problem := _header_problem(header):
        raise TaskError(problem)
    line = reader.line_num + 1
    for cells in reader:
        if len(cells) not in (0, len(header)):
            problem = f"has {len(cells)} cells, but line 1 names {len(header)} columns"
            yield Row(line, {}, f"{problem}; put text that contains a comma in double quotes")
        elif cells:
            row = dict(zip(header, cells, strict=True))
            yield Row(line, row | {side: row[side].split(SEPARATOR) for side in ANSWERS})
        line = reader.line_num + 1


def _read_jsonl(stream: TextIO) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if text.strip():
            yield _json_row(line, text)


def _json_row(line: int, text: str) -> Row:
    try:
        cells = json.loads(text)
    except json.JSONDecodeError as error:
        return Row(line, {}, f"is not JSON: {error.msg} at column {error.colno}")
    if not isinstance(cells, dict):
        return Row(line, {}, f'must be an object like {{"clean": ...}}, found {text.strip()[:40]}')
    return Row(line, cells, _missing(cells))


def _header_problem(header: list[str]) -> str:
    missing = _missing(header)
    if not missing:
        twice = [name for name in (*PROMPTS, *ANSWERS, GROUP) if header.count(name) > 1]
        return f"line 1 names the column {twice[0]} twice" if twice else ""
    others = [name for sign, name in ((";", "';'"), ("\t", "tabs")) if sign in "".join(header)]
    hint = f"; put commas between them, not {others[0]}" if others else ""
    return f"line 1 must name the columns: {missing}{hint}"


def _missing(columns: Collection[str]) -> str:
    """Describe the missing columns and the closest names among the others."""
    needed = (*PROMPTS, *ANSWERS)
    missing = [column for column in needed if column not in columns]
    others = [column for column in columns if column not in needed]
    found = ", ".join(columns) or "nothing"
    near = [_near(column, others) for column in missing]
    return f"no column {', '.join(near)} (found: {found})" if missing else ""


def _near(column: str, columns: Collection[str]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    # "corrupt" is nearer to "corrupted" than to "correct", and is meant to be one of them
    if close and difflib.get_close_matches(close[0], (*PROMPTS, *ANSWERS), n=1) != [column]:
        close = []
    return f"'{column}' (is it '{close[0]}'?)" if close else f"'{column}'"
