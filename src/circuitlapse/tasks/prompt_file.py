"""Reading a file of prompts, a user's or another library's, row by row with their numbers."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from circuitlapse.errors import TaskError
from circuitlapse.tasks.layouts import Layout, TokenId, nearest_layout
from circuitlapse.types import MIN_PROMPTS

SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
"""Ends of the names of files of prompts."""
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
        line: number of its first line, of its prompt or of its row, from 1; see `unit_of`.
        cells: column -> value.
        problem: why it cannot be read, or "".
    """

    line: int
    cells: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class PromptFile:
    """The rows of a file.

    Attributes:
        path: of the file.
        layout: which the file has; cells are those of `layouts.OWN` whatever it is.
        rows: in order.
    """

    path: Path
    layout: Layout
    rows: list[Row]


def read_prompts(path: Path) -> PromptFile:
    """Read a file of prompts: `.csv` (first line: names of the columns), `.jsonl`, or another.

    `.json` holds a list of prompts, or an object with one under `prompts`; `.parquet` is a table.

    Raises:
        TaskError: if it does not exist, cannot be read, is of another kind or not UTF-8, or a CSV
            file lacks a column or has one twice.
    """
    readers = dict(zip(SUFFIXES, (_read_csv, _read_jsonl, _read_json, _read_parquet), strict=True))
    if path.suffix not in readers:
        raise TaskError(f"{path}: must be a file of prompts that ends in {' or '.join(readers)}")
    if not path.is_file():
        raise TaskError(f"{path}: no such file; give its path relative to the working directory")
    try:
        rows = list(readers[path.suffix](path))
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: {_NOT_UTF8} ({error})") from error
    except csv.Error as error:
        raise TaskError(f"{path}: is not valid CSV ({error}); is a quote left open?") from error
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror or error})") from error
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error
    layout = nearest_layout(next((row.cells for row in rows if row.cells), {}))
    return PromptFile(path, layout, [_in_own_columns(row, layout) for row in rows])


def check_file(path: Path) -> None:
    """Check everything in a file that does not need a tokenizer.

    Raises:
        TaskError: see `read_prompts` and `good_rows`.
    """
    file = read_prompts(path)
    own = file.layout.own
    good_rows(file, {row.line: _plain_problems(row, any_end=not own) for row in file.rows})


def good_rows(file: PromptFile, found: Mapping[int, Sequence[str]]) -> list[Row]:
    """Return the rows that keep the rules.

    Args:
        file: the file.
        found: line -> what is wrong with its row; empty for a good row.

    Raises:
        TaskError: if fewer than `MIN_PROMPTS` rows are left, or any row cannot be read. In a file
            in our own layout, every row must keep the rules.
    """
    good = [row for row in file.rows if not found[row.line]]
    unreadable = {row.line for row in file.rows if row.problem}
    refused = found.keys() if file.layout.own or len(good) < MIN_PROMPTS else unreadable
    refuse_bad_rows(file.path, {n: what if n in refused else () for n, what in found.items()})
    return good


def refuse_bad_rows(path: Path, found: Mapping[int, Sequence[str]]) -> None:
    """Raise an error that lists the bad rows of a file.

    Args:
        path: the file.
        found: line -> what is wrong with its row; empty for a good row.

    Raises:
        TaskError: with the first `LISTED` bad rows; or there are fewer than `MIN_PROMPTS` rows.
    """
    unit = unit_of(path)
    bad = [f"  {unit} {line}: {'; '.join(what)}" for line, what in found.items() if what]
    if bad:
        more = [f"  and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
        listing = "\n".join([*bad[:LISTED], *more])
        raise TaskError(f"{path}: {len(bad)} of {len(found)} rows break a rule\n{listing}")
    if len(found) < MIN_PROMPTS:
        raise TaskError(
            f"{path}: has {len(found)} prompt pairs, but a task needs at least {MIN_PROMPTS}, "
            "the smallest n_prompts"
        )


def unit_of(path: Path) -> str:
    """Return what the number of a row counts."""
    return {".json": "prompt", ".parquet": "row"}.get(path.suffix, "line")


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


def prompt_problem(side: str, text: str, *, any_end: bool = False) -> str:
    """Return what is wrong with a prompt for every tokenizer, or ""; `any_end` allows a space."""
    if not text.strip():
        return f"{side} is empty"
    if text[-1].isspace() and not text.endswith("\n") and not any_end:
        return f"{side} ends in a space, which belongs in front of the answers instead"
    return ""


def answers_of(row: Row, side: str) -> tuple[str | TokenId, ...]:
    """Return the answers in one cell: text, a list of texts, or a list of ids."""
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


def _plain_problems(row: Row, *, any_end: bool) -> list[str]:
    if problems := cell_problems(row):
        return problems
    problems = [prompt_problem(side, row.cells[side], any_end=any_end) for side in PROMPTS]
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


def _is_answer(cell: Any) -> bool:
    return isinstance(cell, str | TokenId)


def _is_answers(cell: Any) -> bool:
    return _is_text(cell) or (isinstance(cell, list) and all(map(_is_answer, cell)))


def _in_own_columns(row: Row, layout: Layout) -> Row:
    if row.problem:
        return row
    if missing := _missing(row.cells, layout):
        return replace(row, problem=missing)
    try:
        return replace(row, cells=layout.cells(row.cells))
    except ValueError as error:
        return replace(row, problem=str(error))


def _opened(path: Path) -> TextIO:
    # utf-8-sig: spreadsheets put a byte order mark in front
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(path: Path) -> Iterator[Row]:
    with _opened(path) as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        if problem := _header_problem(header):
            raise TaskError(problem)
        several = ANSWERS if nearest_layout(header).own else ()
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) not in (0, len(header)):
                problem = f"has {len(cells)} cells, but line 1 names {len(header)} columns"
                yield Row(line, {}, f"{problem}; put text that contains a comma in double quotes")
            elif cells:
                row = dict(zip(header, cells, strict=True))
                yield Row(line, row | {side: row[side].split(SEPARATOR) for side in several})
            line = reader.line_num + 1


def _read_jsonl(path: Path) -> Iterator[Row]:
    with _opened(path) as stream:
        for line, text in enumerate(stream, start=1):
            if text.strip():
                yield _json_row(line, text)


def _read_json(path: Path) -> Iterator[Row]:
    with _opened(path) as stream:
        try:
            whole = json.load(stream)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise TaskError(f"is not JSON: {error.msg} at {where}") from error
    prompts = whole.get("prompts") if isinstance(whole, dict) else whole
    if not isinstance(prompts, list):
        found = f"the keys {', '.join(whole)}" if isinstance(whole, dict) else repr(whole)[:40]
        expected = "a list of prompts, or an object with one under 'prompts'"
        raise TaskError(f"must hold {expected}, found {found}")
    return _numbered(prompts)


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowInvalid, parquet  # takes long, and few tasks need it

    try:
        return _numbered(parquet.read_table(path).to_pylist())
    except ArrowInvalid as error:
        raise TaskError(f"is not a Parquet file: {error}") from error


def _numbered(prompts: Sequence[Any]) -> Iterator[Row]:
    for number, cells in enumerate(prompts, start=1):
        if isinstance(cells, dict):
            yield Row(number, cells)
        else:
            yield Row(number, {}, f'must be an object like {{"clean": ...}}, found {cells!r:.40}')


def _json_row(line: int, text: str) -> Row:
    try:
        cells = json.loads(text)
    except json.JSONDecodeError as error:
        return Row(line, {}, f"is not JSON: {error.msg} at column {error.colno}")
    if not isinstance(cells, dict):
        return Row(line, {}, f'must be an object like {{"clean": ...}}, found {text.strip()[:40]}')
    return Row(line, cells)


def _header_problem(header: list[str]) -> str:
    layout = nearest_layout(header)
    missing = _missing(header, layout)
    if not missing:
        twice = [name for name in (*layout.needs, GROUP) if header.count(name) > 1]
        return f"line 1 names the column {twice[0]} twice" if twice else ""
    others = [name for sign, name in ((";", "';'"), ("\t", "tabs")) if sign in "".join(header)]
    hint = f"; put commas between them, not {others[0]}" if others else ""
    return f"line 1 must name the columns: {missing}{hint}"


def _missing(columns: Collection[str], layout: Layout) -> str:
    """Describe the missing columns of a layout and the closest names among the others."""
    missing = [column for column in layout.needs if column not in columns]
    others = [column for column in columns if column not in layout.needs]
    found = ", ".join(columns) or "nothing"
    near = [_near(column, others, layout) for column in missing]
    of = "" if layout.own else f" of the layout of {layout.name}"
    return f"no column {', '.join(near)}{of} (found: {found})" if missing else ""


def _near(column: str, columns: Collection[str], layout: Layout) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    # "corrupt" is nearer to "corrupted" than to "correct", and is meant to be one of them
    if close and difflib.get_close_matches(close[0], layout.needs, n=1) != [column]:
        close = []
    return f"'{column}' (is it '{close[0]}'?)" if close else f"'{column}'"
