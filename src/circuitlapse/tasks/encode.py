"""Prompt pairs as token ids: the task that all models share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Draft, Pair
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric

MIN_PAIRS = 2
"""The standard error of a mean needs two."""

COLUMNS = {
    "prompt_id": "int32",
    "group": "int32",
    "template": "str",
    "clean": "str",
    "corrupted": "str",
    "clean_tokens": "list<int32>",
    "corrupted_tokens": "list<int32>",
    "end": "int32",
    "correct": "list<int32>",
    "wrong": "list<int32>",
}
"""Columns of every task and their types; nullable int32 columns `pos_<role>` follow."""


@dataclass(frozen=True)
class Task:
    """Prompt pairs as token ids, made once per tokenizer and shared by models and steps.

    Attributes:
        name: the user's name for it.
        metric: score of a prompt.
        builder: name of the builder, or `custom` for a file.
        prepend_bos: whether each prompt starts with a begin-of-text token, which is added unless
            its text has one.
        seed: of all random draws.
        options: settings of the builder.
        tokenizer_hash: SHA-256 of the tokenizer that made the ids.
        dropped: reason -> number of words, templates or prompts left out.
        frame: one row per pair, columns as in `COLUMNS`. `group` numbers the groups of `groups_of`,
            from 0. `end` is the index of the last token of
            the prompt, whose logits predict the answer. `pos_<role>` is the index in
            `clean_tokens` of the word with that role, missing where a prompt has none.

    Raises:
        TaskError: if a column is missing.
    """

    name: str
    metric: Metric
    builder: str
    prepend_bos: bool
    seed: int
    options: Mapping[str, str]
    tokenizer_hash: str
    dropped: Mapping[str, int]
    frame: pd.DataFrame

    def __post_init__(self) -> None:
        """Check that the frame has the columns of a task."""
        if missing := [column for column in COLUMNS if column not in self.frame]:
            raise TaskError(f"task {self.name}: the table has no column {', '.join(missing)}")

    def __len__(self) -> int:
        """Number of prompt pairs."""
        return len(self.frame)

    @property
    def header(self) -> dict[str, Any]:
        """Everything but the frame, as plain values."""
        return {
            "name": self.name,
            "metric": str(self.metric),
            "builder": self.builder,
            "prepend_bos": self.prepend_bos,
            "seed": self.seed,
            "options": dict(self.options),
            "tokenizer_hash": self.tokenizer_hash,
            "dropped": dict(self.dropped),
        }

    @property
    def content_hash(self) -> str:
        """SHA-256 of the header and all cells, independent of the file they were read from."""
        digest = hashlib.sha256(_canonical(self.header))
        for column in sorted(map(str, self.frame)):
            digest.update(_canonical([column, *map(_plain, self.frame[column])]))
        return digest.hexdigest()


def encode(
    draft: Draft,
    vocabulary: Vocabulary,
    *,
    name: str,
    metric: Metric,
    builder: str,
    n_prompts: int | None,
    seed: int,
    prepend_bos: bool,
    options: Mapping[str, str],
) -> Task:
    """Encode pairs that keep the rules as a task; see `Task` for the arguments.

    Raises:
        TaskError: if there are fewer than two pairs, or if the tokenizer has no begin-of-text
            token to prepend.
    """
    if len(draft.pairs) < MIN_PAIRS:
        found = f"there are {len(draft.pairs)} prompt pairs"
        raise TaskError(f"{found}; at least {MIN_PAIRS} are needed")
    rows = [
        {"prompt_id": index, "group": group, **_row(pair, vocabulary, prepend_bos=prepend_bos)}
        for index, (group, pair) in enumerate(zip(groups_of(draft.pairs), draft.pairs, strict=True))
    ]
    return Task(
        name=name,
        metric=metric,
        builder=builder,
        prepend_bos=prepend_bos,
        seed=seed,
        options=options,
        tokenizer_hash=vocabulary.hash,
        dropped=_dropped(draft, n_prompts),
        frame=to_frame(rows),
    )


def groups_of(pairs: Sequence[Pair]) -> list[int]:
    """Return the group of each pair: 0, 1, 2, ... in the order in which they first come.

    Pairs of a group are no independent measurements. If any pair has a named group, names decide,
    and a pair without one is a group of its own, with its copies. Otherwise `twins` decides.
    """
    if any(pair.group for pair in pairs):
        keys: list[object] = [pair.group or (pair.clean, pair.corrupted) for pair in pairs]
    else:
        keys = twins(pairs)
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def twins(pairs: Sequence[Pair]) -> list[object]:
    """Return a key for each pair, which its twins share.

    Twins swap clean and corrupted prompt, so that a model does nearly the same on both, with
    the opposite sign of whatever it prefers by itself. Pairs with the same clean prompt count as
    twins too, and so do chains of twins.
    """
    # Linked are clean prompts: by a pair and its swapped one, which must both be there.
    there = {(pair.clean, pair.corrupted) for pair in pairs}
    linked: dict[str, set[str]] = {pair.clean: {pair.clean} for pair in pairs}
    for clean, corrupted in there:
        if (corrupted, clean) in there and linked[clean] is not linked[corrupted]:
            joined = linked[clean] | linked[corrupted]
            linked.update(dict.fromkeys(joined, joined))
    return [id(linked[pair.clean]) for pair in pairs]


def _dropped(draft: Draft, n_prompts: int | None) -> dict[str, int]:
    short = 0 if n_prompts is None else n_prompts - len(draft.pairs)
    counts = {**draft.dropped, "prompts that were asked for but do not exist": short}
    return {reason: count for reason, count in counts.items() if count}


def _row(pair: Pair, vocabulary: Vocabulary, *, prepend_bos: bool) -> dict[str, Any]:
    clean = vocabulary.prompt_ids(pair.clean, prepend_bos=prepend_bos)
    added = len(clean) - len(vocabulary.ids(pair.clean))  # a begin-of-text token, or nothing
    positions = {
        f"pos_{role}": added + vocabulary.position(pair.clean, span)
        for role, span in pair.spans.items()
    }
    return {
        "template": pair.template,
        "clean": pair.clean,
        "corrupted": pair.corrupted,
        "clean_tokens": clean,
        "corrupted_tokens": vocabulary.prompt_ids(pair.corrupted, prepend_bos=prepend_bos),
        "end": len(clean) - 1,
        "correct": vocabulary.single_ids(pair.correct),
        "wrong": vocabulary.single_ids(pair.wrong),
        **positions,
    }


def to_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with the types of `COLUMNS`; lists become tuples."""
    frame = pd.DataFrame(list(rows))
    kinds = {column: COLUMNS.get(column, "Int32") for column in map(str, frame)}
    lists = [column for column, kind in kinds.items() if kind.startswith("list")]
    for column in lists:
        frame[column] = [tuple(cell) for cell in frame[column]]
        kinds[column] = "object"
    return frame.astype(kinds)


def _plain(cell: Any) -> Any:
    """Convert a cell to a JSON value: text, a number, a list of numbers or null."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, tuple | list):
        return [int(item) for item in cell]
    return None if pd.isna(cell) else int(cell)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
