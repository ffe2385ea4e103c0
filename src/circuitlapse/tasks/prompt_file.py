"""Reading a file of prompts, a user's or another library's, row by row with their numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from circuitlapse.errors import NOTHING, TaskError, no_file, printable
from circuitlapse.tasks.layouts import Layout, TokenId, nearest_layout
from circuitlapse.tasks.rows import ANSWERS, GROUP, READERS, SHOWN, Row, missing
from circuitlapse.types import MIN_PROMPTS

PROMPTS = ("clean", "corrupted")
LISTED = 20
"""At most this many bad rows are listed; often every row has the same mistake."""
ENOUGH = 1000
"""Bad rows after which the others are not looked at, where every row must keep the rules."""
MOST_ROWS = 200_000
"""Twice the most prompts of a task."""
LARGEST_MB = 1024
"""Size of the largest file that is read."""

_NOT_UTF8 = "is not UTF-8 text; save it as UTF-8"


@dataclass(frozen=True)
class PromptFile:
    """The rows of a file.

    Attributes:
        path: of the file.
        layout: which the file has; cells are those of `layouts.OWN` whatever it is.
        rows: in order, at most `MOST_ROWS`.
        more: whether there are more.
    """

    path: Path
    layout: Layout
    rows: list[Row]
    more: bool = False


def read_prompts(path: Path) -> PromptFile:
    """Read a file of prompts: `.csv` (first line: names of the columns), `.jsonl`, or another.

    `.json` holds a list of prompts, or an object with one under `prompts`; `.parquet` is a table.

    Raises:
        TaskError: if it does not exist, cannot be read, is of another kind, too large or not UTF-8,
            or a CSV file lacks a column or has one twice.
    """
    if path.suffix not in READERS:
        raise TaskError(f"{path}: must be a file of prompts that ends in {' or '.join(READERS)}")
    if (found := no_file(path)) == NOTHING:
        raise TaskError(f"{path}: no such file; give its path relative to the working directory")
    if found:
        raise TaskError(f"{path}: must be a file of prompts, found {found}")
    if (size_mb := path.stat().st_size / 2**20) > LARGEST_MB:
        raise TaskError(f"{path}: must have at most {LARGEST_MB} MB, found {size_mb:.0f} MB")
    try:
        rows = list(islice(READERS[path.suffix](path), MOST_ROWS + 1))
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: {_NOT_UTF8} ({error})") from error
    except csv.Error as error:
        raise TaskError(f"{path}: is not valid CSV ({error}); is a quote left open?") from error
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror or error})") from error
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error
    except Exception as error:  # of a library, for a file that is damaged or made to harm
        why = printable(f"{type(error).__name__}: {error!s:.200}")
        raise TaskError(f"{path}: cannot be read ({why})") from error
    layout = nearest_layout(next((row.cells for row in rows if row.cells), {}))
    kept = list(_until_enough((_in_own_columns(row, layout) for row in rows[:MOST_ROWS]), layout))
    return PromptFile(path, layout, kept, more=len(rows) > len(kept))


def _until_enough(rows: Iterable[Row], layout: Layout) -> Iterator[Row]:
    """Yield rows, in our own layout up to the last of `ENOUGH` that cannot be read."""
    n_bad = 0
    for row in rows:
        yield row
        n_bad += bool(row.problem)
        if n_bad == ENOUGH and layout.own:
            return


def check_file(path: Path) -> None:
    """Check everything in a file that does not need a tokenizer.

    Raises:
        TaskError: see `read_prompts` and `good_rows`.
    """
    file = read_prompts(path)
    any_end = not file.layout.own
    good_rows(file, problems_by_line(file, lambda row: _plain_problems(row, any_end=any_end)))


def problems_by_line(
    file: PromptFile, problems_of: Callable[[Row], list[str]]
) -> dict[int, list[str]]:
    """Return line -> what is wrong with its row; empty for a good row.

    Where every row must keep the rules, `ENOUGH` bad ones are the last that are looked at. Of too
    many rows, the first ones are.
    """
    found: dict[int, list[str]] = {}
    n_bad = 0
    for row in file.rows:
        found[row.line] = problems_of(row)
        n_bad += bool(found[row.line])
        if (n_bad == ENOUGH and file.layout.own) or (file.more and len(found) == 10 * ENOUGH):
            break
    return found


def good_rows(file: PromptFile, found: Mapping[int, Sequence[str]]) -> list[Row]:
    """Return the rows that keep the rules.

    Args:
        file: the file.
        found: what `problems_by_line` returned.

    Raises:
        TaskError: if fewer than `MIN_PROMPTS` rows are left, any row cannot be read, or there are
            too many. In a file in our own layout, every row must keep the rules.
    """
    good = [row for row in file.rows if not found.get(row.line, ("not looked at",))]
    unreadable = {row.line for row in file.rows if row.problem}
    refused = found.keys() if file.layout.own or len(good) < MIN_PROMPTS else unreadable
    refuse_bad_rows(
        file.path,
        {n: what if n in refused else () for n, what in found.items()},
        all_read=len(found) == len(file.rows) and not file.more,
    )
    if file.more:
        raise TaskError(f"{file.path}: must have at most {MOST_ROWS} rows, found more")
    return good


def refuse_bad_rows(
    path: Path, found: Mapping[int, Sequence[str]], *, all_read: bool = True
) -> None:
    """Raise an error that lists the bad rows of a file.

    Args:
        path: the file.
        found: line -> what is wrong with its row; empty for a good row.
        all_read: whether these are all rows of the file.

    Raises:
        TaskError: with the first `LISTED` bad rows; or there are fewer than `MIN_PROMPTS` rows.
    """
    unit = unit_of(path)
    bad = [(line, what) for line, what in found.items() if what]
    if bad:
        listed = [f"  {unit} {line}: {printable('; '.join(what))}" for line, what in bad[:LISTED]]
        more = [f"  and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
        count = f"{len(bad)} of {'' if all_read else 'the first '}{len(found)} rows"
        raise TaskError("\n".join([f"{path}: {count} break a rule", *listed, *more]))
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
        f"{column} must be {wanted}, found {row.cells[column]!r:.{SHOWN}}"
        for columns, wanted, fits in (
            (PROMPTS, "text", _is_text),
            (ANSWERS, 'text like " she" or a list of texts', _is_answers),
        )
        for column in columns
        if not fits(row.cells[column])
    ] + [*_group_problems(row.cells.get(GROUP)), *_unusable_texts(row)]


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
    return [f"{GROUP} must be text or a whole number, found {cell!r:.{SHOWN}}"]


def _unusable_texts(row: Row) -> list[str]:
    """Name the columns with characters that no tokenizer and no table takes."""
    return [
        f"{column} holds NUL or half of a character (a surrogate)"
        for column, cell in row.cells.items()
        for text in (cell if isinstance(cell, list) else [cell])
        if isinstance(text, str) and not _is_usable(text)
    ]


def _is_usable(text: str) -> bool:
    if "\0" in text:
        return False
    return text.isascii() or text.encode(errors="replace").decode() == text


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
    if absent := missing(row.cells, layout):
        return replace(row, problem=absent)
    try:
        return Row(row.line, layout.cells(row.cells))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return replace(row, problem=f"{error!s:.300}")
