"""The rows of a file of prompts, with their numbers, read one by one."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from circuitlapse.errors import TaskError
from circuitlapse.tasks.layouts import Layout, nearest_layout

ANSWERS = ("correct", "wrong")
GROUP = "group"
SEPARATOR = "|"
"""Between the answers of one CSV cell."""
SHOWN = 80
"""At most so many characters of a cell, and columns of a row, stand in a message."""


@dataclass(slots=True)
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
        except RecursionError as error:
            raise TaskError("is not JSON: lists or objects are nested too deeply") from error
    prompts = whole.get("prompts") if isinstance(whole, dict) else whole
    if not isinstance(prompts, list):
        keys = f"the keys {_listed(whole)}" if isinstance(whole, dict) else ""
        found = keys or repr(whole)[:40]
        expected = "a list of prompts, or an object with one under 'prompts'"
        raise TaskError(f"must hold {expected}, found {found}")
    return _numbered(prompts)


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowInvalid, parquet  # takes long, and few tasks need it

    try:
        batches = parquet.ParquetFile(path).iter_batches()
        yield from _numbered(chain.from_iterable(batch.to_pylist() for batch in batches))
    except ArrowInvalid as error:
        raise TaskError(f"is not a Parquet file: {error}") from error


def _numbered(prompts: Iterable[Any]) -> Iterator[Row]:
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
    except (ValueError, RecursionError) as error:  # a huge number, or nested too deeply
        return Row(line, {}, f"cannot be read: {error!s:.200}")
    if not isinstance(cells, dict):
        return Row(line, {}, f'must be an object like {{"clean": ...}}, found {text.strip()[:40]}')
    return Row(line, cells)


def _header_problem(header: list[str]) -> str:
    layout = nearest_layout(header)
    absent = missing(header, layout)
    if not absent:
        twice = [name for name in (*layout.needs, GROUP) if header.count(name) > 1]
        return f"line 1 names the column {twice[0]} twice" if twice else ""
    others = [name for sign, name in ((";", "';'"), ("\t", "tabs")) if sign in "".join(header)]
    hint = f"; put commas between them, not {others[0]}" if others else ""
    return f"line 1 must name the columns: {absent}{hint}"


def missing(columns: Collection[str], layout: Layout) -> str:
    """Describe the missing columns of a layout and the closest names among the others."""
    absent = [column for column in layout.needs if column not in columns]
    if not absent:
        return ""
    others = [column for column in columns if column not in layout.needs][:SHOWN]
    found = _listed(columns) or "nothing"
    near = [_near(column, others, layout) for column in absent]
    of = "" if layout.own else f" of the layout of {layout.name}"
    return f"no column {', '.join(near)}{of} (found: {found})"


def _listed(columns: Collection[str]) -> str:
    """Write the names of columns, of many the first ones."""
    more = ", ..." if len(columns) > SHOWN else ""
    return ", ".join(name[:SHOWN] for name in islice(columns, SHOWN)) + more


def _near(column: str, columns: Collection[str], layout: Layout) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    # "corrupt" is nearer to "corrupted" than to "correct", and is meant to be one of them
    if close and difflib.get_close_matches(close[0], layout.needs, n=1) != [column]:
        close = []
    return f"'{column}' (is it '{close[0]}'?)" if close else f"'{column}'"


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""What reads files whose names end so."""
