"""Rows of a user's file of prompts, CSV or JSON Lines, each with its line number."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from circuitlapse.errors import TaskError

PROMPTS = ("clean", "corrupted")
ANSWERS = ("correct", "wrong")
SEPARATOR = "|"
"""Between the answers of one CSV cell."""

_NOT_UTF8 = "is not UTF-8 text; save it as UTF-8"


@dataclass(frozen=True)
class Row:
    """One row of the file, not yet checked.

    Attributes:
        line: where it starts, as an editor counts.
        cells: column -> value.
        problem: why it cannot be read, or "".
    """

    line: int
    cells: dict[str, Any]
    problem: str = ""


def read_rows(path: Path) -> list[Row]:
    """Read a file that ends in `.csv` (first line: names of the columns) or `.jsonl`.

    Raises:
        TaskError: if it does not exist, is of another kind or not UTF-8, or a CSV file lacks
            a column.
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
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error


def column_problem(path: Path) -> str:
    """Return what is wrong with the columns of a file that exists, or ""; reads one row at most."""
    try:
        with _opened(path) as stream:
            if path.suffix == ".csv":
                return _header_problem(next(csv.reader(stream), []))
            first = next(_read_jsonl(stream), None)
    except UnicodeDecodeError:
        return _NOT_UTF8
    return f"line {first.line}: {first.problem}" if first and first.problem else ""


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
            yield Row(line, {}, f'{problem}; put text that has a comma between two "')
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
        return ""
    others = [name for sign, name in ((";", "';'"), ("\t", "tabs")) if sign in "".join(header)]
    hint = f"; put commas between them, not {others[0]}" if others else ""
    return f"line 1 must name the columns: {missing}{hint}"


def _missing(columns: Collection[str]) -> str:
    """Name the required columns that are not there, and the nearest that is."""
    missing = [column for column in (*PROMPTS, *ANSWERS) if column not in columns]
    found = ", ".join(columns) or "nothing"
    near = [_near(column, columns) for column in missing]
    return f"no column {', '.join(near)} (found: {found})" if missing else ""


def _near(column: str, columns: Collection[str]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    return f"'{column}' (is '{close[0]}' meant to be it?)" if close else f"'{column}'"
