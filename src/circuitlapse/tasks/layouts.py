"""Layouts of files of prompts: our own, and those of other libraries, read as they are.

Which layout a file has is found from its columns, or the keys of its first row. The others are:

- EAP-IG (https://github.com/hannamw/EAP-IG): `correct_idx` and `incorrect_idx` are ids of tokens,
  or lists of ids, of the tokenizer that the file was made for.
- EAP-IG, Greater-Than: `label` is the start year's last two digits. Right are all larger two
  digits, wrong are the others.
- auto-circuit (https://github.com/UFO-101/auto-circuit): an object whose `prompts` have `clean`,
  `corrupt`, `answers` and `wrong_answers`.
- MIB (Mueller et al. 2025, arXiv 2504.13151; https://huggingface.co/mib-bench), rows of the hub's
  Parquet files or of a JSON export. As in MIB's circuit track, the corrupted prompt is that of
  `s2_io_flip_counterfactual` in IOI, of `symbol_counterfactual` in copied colours and ARC, and of
  `random_counterfactual` in arithmetic. The wrong answer is the right one to that prompt. In IOI
  a space comes before a name; the labels of choices and the sums are taken as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

Cells = Mapping[str, Any]


class TokenId(int):
    """An answer that the file gives as the id of a token."""


@dataclass(frozen=True)
class Layout:
    """The columns of a kind of file.

    Attributes:
        name: of the layout, in messages.
        needs: columns that every row has; together they tell a layout from the others.
        cells: turns a row into the columns of `OWN`; a ValueError says what is wrong with it.
        own: whether the file was written for this library. Its rows must all keep the rules, and
            of other files the rows that do not are left out.
    """

    name: str
    needs: tuple[str, ...]
    cells: Callable[[Cells], dict[str, Any]]
    own: bool = False


def nearest_layout(columns: Collection[str]) -> Layout:
    """Return the layout of which most columns are there, in doubt our own."""
    return max(LAYOUTS, key=lambda layout: sum(column in columns for column in layout.needs))


def _eap_ig_ids(cells: Cells) -> dict[str, Any]:
    return {
        **_prompts(cells, "clean", "corrupted"),
        "correct": _token_ids(cells, "correct_idx"),
        "wrong": _token_ids(cells, "incorrect_idx"),
    }


def _token_ids(cells: Cells, key: str) -> list[TokenId]:
    """Read an id or a list of ids; CSV has them as text, and pandas writes some as "5.0"."""
    try:
        value = json.loads(cells[key]) if isinstance(cells[key], str) else cells[key]
        listed = value if isinstance(value, list) else [value]
        numbers = [one for one in listed if not isinstance(one, bool)]
        ids = [int(one) for one in numbers if one == int(one) and 0 <= one < 2**31]
        if len(ids) == len(listed) > 0:
            return [TokenId(one) for one in ids]
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise ValueError(
        f"{key} is {cells[key]!r:.80}, expected the id of a token such as 5335, or a list of ids"
    )


def _eap_ig_years(cells: Cells) -> dict[str, Any]:
    prompts = _prompts(cells, "clean", "corrupted")
    label = str(cells["label"]).strip()
    if not re.fullmatch(r"\d{1,2}", label):
        raise ValueError(f"label is {cells['label']!r}, expected the last two digits of a year")
    start = f"{int(label):02d}"
    if not re.search(rf"\b\d\d{start}\b", prompts["clean"]):
        raise ValueError(f"label is {label}, but clean has no year that ends in {start}")
    numbers = [f"{number:02d}" for number in range(100)]
    return {
        **prompts,
        "correct": [number for number in numbers if number > start],
        "wrong": [number for number in numbers if number <= start],
    }


def _auto_circuit(cells: Cells) -> dict[str, Any]:
    answers = {"correct": "answers", "wrong": "wrong_answers"}
    for key in answers.values():
        if not isinstance(cells[key], list) or not all(isinstance(one, str) for one in cells[key]):
            raise ValueError(f"{key} is {cells[key]!r}, expected a list of texts")
    return {
        **_prompts(cells, "clean", "corrupt"),
        **{side: list(cells[key]) for side, key in answers.items()},
    }


def _mib_names(cells: Cells) -> dict[str, Any]:
    other = "s2_io_flip_counterfactual"
    right, wrong = (_chosen(cells, *where) for where in ((), (other,)))
    spaced = (name if name.startswith(" ") else f" {name}" for name in (right, wrong))
    return _mib(cells, other, *spaced)


def _mib_choices(cells: Cells) -> dict[str, Any]:
    other = "symbol_counterfactual"
    right, wrong = (_chosen(cells, *where, labels=True) for where in ((), (other,)))
    return _mib(cells, other, right, wrong)


def _mib_sums(cells: Cells) -> dict[str, Any]:
    other = "random_counterfactual"
    if cells[other] is None:  # a row without one is left out, as in MIB's circuit track
        return _mib({**cells, other: {"prompt": ""}}, other, str(cells["label"]), "")
    return _mib(cells, other, str(_at(cells, "label")), str(_at(cells, other, "label")))


def _mib(cells: Cells, other: str, right: str, wrong: str) -> dict[str, Any]:
    corrupted = _at(cells, other, "prompt")
    prompts = _prompts({**cells, f"{other}.prompt": corrupted}, "prompt", f"{other}.prompt")
    template = cells.get("template")
    return {
        **prompts,
        "correct": [right],
        "wrong": [wrong],
        "template": template if isinstance(template, str) else "",
    }


def _chosen(cells: Cells, *where: str, labels: bool = False) -> str:
    """Return the choice, or its label, that `answerKey` counts to from 0."""
    choices = _at(cells, *where, "choices", *(("label",) if labels else ()))
    place = _at(cells, *where, "answerKey")
    if (
        not isinstance(place, int)
        or not isinstance(choices, list)
        or place not in range(len(choices))
    ):
        key = ".".join((*where, "answerKey"))
        raise ValueError(f"{key} is {place!r}, expected the place of one of {choices!r}")
    return str(choices[place])


def _at(cells: Cells, *path: str) -> Any:
    """Return the value at the end of nested keys."""
    value: Any = cells
    for depth, key in enumerate(path):
        if not isinstance(value, Mapping) or key not in value:
            found = ", ".join(value) if isinstance(value, Mapping) else repr(value)
            parent = ".".join(path[:depth]) or "the row"
            raise ValueError(f"{parent} has no key {key!r} (found: {found})")
        value = value[key]
    return value


def _prompts(cells: Cells, clean: str, corrupted: str) -> dict[str, str]:
    for key in (clean, corrupted):
        if not isinstance(cells[key], str):
            raise ValueError(f"{key} is {cells[key]!r}, expected text")
    return {"clean": cells[clean], "corrupted": cells[corrupted]}


OWN = Layout(
    "Circuitlapse", ("clean", "corrupted", "correct", "wrong"), lambda cells: dict(cells), own=True
)
LAYOUTS = (
    OWN,
    Layout("EAP-IG", ("clean", "corrupted", "correct_idx", "incorrect_idx"), _eap_ig_ids),
    Layout("EAP-IG (Greater-Than)", ("clean", "corrupted", "label"), _eap_ig_years),
    Layout("auto-circuit", ("clean", "corrupt", "answers", "wrong_answers"), _auto_circuit),
    Layout(
        "MIB (IOI)", ("prompt", "choices", "answerKey", "s2_io_flip_counterfactual"), _mib_names
    ),
    Layout(
        "MIB (choices)", ("prompt", "choices", "answerKey", "symbol_counterfactual"), _mib_choices
    ),
    Layout("MIB (arithmetic)", ("prompt", "label", "random_counterfactual"), _mib_sums),
)
"""Every layout; a file with the columns of several has the first of them."""
