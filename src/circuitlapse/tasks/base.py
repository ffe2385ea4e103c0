"""What a task is: pairs of prompts as text, and the same pairs as token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from circuitlapse.errors import TaskError
from circuitlapse.types import Metric

COLUMNS = {
    "prompt_id": "int32",
    "template": "str",
    "clean": "str",
    "corrupted": "str",
    "clean_tokens": "list<int32>",
    "corrupted_tokens": "list<int32>",
    "end": "int32",
    "correct": "list<int32>",
    "wrong": "list<int32>",
}
"""Columns that every task has, with their types; nullable int32 columns `pos_<role>` follow."""


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupted prompt as text.

    Attributes:
        clean: the prompt up to, not including, the answer.
        corrupted: the same with what decides the answer exchanged.
        correct: right answers to the clean prompt, spelled as they follow it: " she", "32".
        wrong: wrong answers, spelled alike.
        template: name of the sentence pattern.
        spans: role of a word -> its (start, stop) characters in `clean`.
        n_changed: positions in which clean and corrupted differ; None means any number.
    """

    clean: str
    corrupted: str
    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    template: str = ""
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    n_changed: int | None = 1


@dataclass(frozen=True)
class Draft:
    """What a builder hands over.

    Attributes:
        pairs: the prompts.
        dropped: reason -> how many words, patterns or prompts it cost.
    """

    pairs: tuple[Pair, ...]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Builder:
    """One kind of task.

    Attributes:
        make: `make(vocabulary, *, n_prompts, rng, **options)` returns at most `n_prompts`
            pairs (None asks for all there are) and raises TaskError if the vocabulary has too
            few of the words.
        metric: how well a model does the task.
        options: what can be set -> the allowed values, the default first.
    """

    make: Callable[..., Draft]
    metric: Metric
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Prompt pairs as token ids, made once per tokenizer and shared by models and steps.

    Attributes:
        name: the user's name for it.
        metric: how well a model does it, per prompt.
        builder: what made the pairs.
        prepend_bos: whether each prompt starts with a begin-of-text token.
        seed: of everything drawn at random.
        options: settings of the builder.
        tokenizer_hash: SHA-256 of the tokenizer that made the ids.
        dropped: reason -> how many words, patterns or prompts it cost.
        frame: one row per pair, columns as in `COLUMNS`. `end` is the index of the last token
            of the prompt, where the answer is asked for; `pos_<role>` the index in
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


def to_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with the types of `COLUMNS`; lists of ids become tuples."""
    frame = pd.DataFrame(list(rows))
    kinds = {column: COLUMNS.get(column, "Int32") for column in map(str, frame)}
    lists = [column for column, kind in kinds.items() if kind.startswith("list")]
    for column in lists:
        frame[column] = [tuple(cell) for cell in frame[column]]
        kinds[column] = "object"
    return frame.astype(kinds)


def _plain(cell: Any) -> Any:
    """Turn a cell into what JSON knows: text, a number, a list of numbers or null."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, tuple | list):
        return [int(item) for item in cell]
    return None if pd.isna(cell) else int(cell)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
