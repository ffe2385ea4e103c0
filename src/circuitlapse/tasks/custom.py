"""A task from a file of prompt pairs, a user's own or another library's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from tokenizers import Tokenizer

from circuitlapse.errors import TaskError, UnknownNameError, unknown_name
from circuitlapse.tasks.base import Draft, Pair
from circuitlapse.tasks.checks import problems, warn_of_likely_mistakes
from circuitlapse.tasks.encode import Task, encode, groups_of
from circuitlapse.tasks.layouts import Layout, TokenId
from circuitlapse.tasks.prompt_file import (
    PromptFile,
    answers_of,
    cell_problems,
    good_rows,
    group_of,
    problems_by_line,
    read_prompts,
    refuse_bad_rows,
    unit_of,
)
from circuitlapse.tasks.rows import Row
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import TASK_METRICS, Metric

_log = logging.getLogger(__name__)


def build_custom_task(
    name: str,
    tokenizer: Tokenizer,
    *,
    file: str | Path,
    metric: str,
    n_prompts: int | None = None,
    seed: int = 0,
    prepend_bos: bool = False,
) -> Task:
    """Make a task from rows with `clean`, `corrupted`, `correct`, `wrong`, and maybe more.

    Files of other libraries are read as they are; `tasks.layouts` lists them. Their rows that break
    a rule are left out, which the log says.

    `template` names the pattern of a prompt. `group` names pairs that are not independent, such as
    variants of one sentence; an empty cell leaves a pair on its own. Without this column, twins are
    found by their texts (`tasks.encode.twins`). Equal rows are one measurement, so they must have
    one group; the log says how many there are.

    An answer is the text of one token, usually with a leading space. Several answers are a list in
    JSON Lines and are separated by "|" in CSV. Rows that keep the rules but look like a mistake
    cause a warning.

    Args:
        name: the user's name for the task.
        tokenizer: decides which rows can be used.
        file: ends in `.csv` (first line: names of the columns), `.jsonl`, `.json` or `.parquet`.
        metric: `logit_diff` or `prob_diff`.
        n_prompts: rows to use, drawn at random and kept in order; None uses all.
        seed: of that draw.
        prepend_bos: start each prompt with a begin-of-text token.

    Raises:
        UnknownNameError: if the metric is unknown.
        TaskError: if the file cannot be read, rows break a rule (the first ones are listed), or
            there are fewer than `MIN_PROMPTS` rows, or all rows are one group.
    """
    if metric not in TASK_METRICS:
        raise UnknownNameError(unknown_name("metric", metric, TASK_METRICS))
    path = Path(file)
    vocabulary = Vocabulary(tokenizer)
    try:
        found, dropped = _checked(path, vocabulary)
        pairs = _limit(found, n_prompts=n_prompts, seed=seed)
        _refuse_one_group(path, pairs)
        return encode(
            Draft(pairs, dropped),
            vocabulary,
            name=name,
            metric=Metric(metric),
            builder="custom",
            n_prompts=n_prompts,
            seed=seed,
            prepend_bos=prepend_bos,
            options={"file": path.name},
        )
    except TaskError as error:
        raise TaskError(f"task {name}: {error}") from error


def _limit(pairs: Sequence[Pair], *, n_prompts: int | None, seed: int) -> tuple[Pair, ...]:
    n_kept = len(pairs) if n_prompts is None else min(n_prompts, len(pairs))
    return tuple(pairs[index] for index in sorted(Random(seed).sample(range(len(pairs)), n_kept)))


def _refuse_one_group(path: Path, pairs: Sequence[Pair]) -> None:
    if len(set(groups_of(pairs))) < 2:
        why = (
            "has the same group in every row"
            if pairs[0].group
            else "has only twins: rows with the same clean prompt, or with both prompts swapped"
        )
        raise TaskError(
            f"{path}: {why}; intervals need at least two groups of prompts. Name the groups in "
            "the column group"
        )


def _checked(path: Path, vocabulary: Vocabulary) -> tuple[list[Pair], dict[str, int]]:
    """Return the pairs of a file and what was left out, or raise one error about all its rows."""
    file = read_prompts(path)
    found = problems_by_line(file, lambda row: _row_problems(row, file.layout, vocabulary))
    pairs = {row.line: _pair(row, vocabulary) for row in good_rows(file, found)}
    if not file.layout.own:
        _tell_of_layout(file, found, next(iter(pairs.values())))
    refuse_bad_rows(path, _copies_apart(pairs))
    warn_of_likely_mistakes(path, pairs, vocabulary)
    _tell_of_copies(path, list(pairs.values()))
    left_out = len(file.rows) - len(pairs)
    return list(pairs.values()), {"rows that break a rule": left_out} if left_out else {}


def _tell_of_layout(file: PromptFile, found: Mapping[int, Sequence[str]], first: Pair) -> None:
    """Log how a file of another library is read, and which of its rows cannot be used."""
    layout, path = file.layout, file.path
    columns = ", ".join(layout.needs)
    _log.info("%s: has the columns %s, so it is read as %s", path, columns, layout.name)
    answers = (first.clean, *(side[0] for side in (first.correct, first.wrong)))
    _log.info("%s: the first prompt is %r; right is %r, wrong is %r", path, *answers)
    if bad := {line: what for line, what in found.items() if what}:
        line, what = next(iter(bad.items()))
        numbers = (len(bad), len(found), unit_of(path), line, "; ".join(what))
        _log.warning("%s: %d of %d rows are left out; the first is %s %d: %s", path, *numbers)


def _copies_apart(pairs: Mapping[int, Pair]) -> dict[int, list[str]]:
    """Describe rows that repeat an earlier one in another group: they are one measurement."""
    first: dict[tuple[str, str], int] = {}
    found: dict[int, list[str]] = {}
    for line, pair in pairs.items():
        original = first.setdefault((pair.clean, pair.corrupted), line)
        wanted = pairs[original].group
        found[line] = [
            f"has the prompts of line {original}, but the group {pair.group!r} in place of "
            f"{wanted!r}; equal rows are one measurement, so they need one group"
        ] * (pair.group != wanted)
    return found


def _tell_of_copies(path: Path, pairs: Sequence[Pair]) -> None:
    different = len({(pair.clean, pair.corrupted) for pair in pairs})
    if different < len(pairs):
        _log.warning(
            "%s: only %d of %d rows are different; equal rows count as one measurement",
            *(path, different, len(pairs)),
        )


def _row_problems(row: Row, layout: Layout, vocabulary: Vocabulary) -> list[str]:
    if found := cell_problems(row):
        return found
    try:
        return problems(_pair(row, vocabulary), vocabulary, any_end=not layout.own)
    except TaskError as error:  # an id that is no word
        return [str(error)]


def _pair(row: Row, vocabulary: Vocabulary) -> Pair:
    return Pair(
        clean=row.cells["clean"],
        corrupted=row.cells["corrupted"],
        correct=_answers(row, "correct", vocabulary),
        wrong=_answers(row, "wrong", vocabulary),
        template=str(row.cells.get("template") or ""),
        group=group_of(row),
        n_changed=None,
    )


def _answers(row: Row, side: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    return tuple(
        vocabulary.text_of(answer) if isinstance(answer, TokenId) else answer
        for answer in answers_of(row, side)
    )
