"""What keys owe to each other: unique names, saved steps, the shape of a model."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

from circuitlapse.config.keys import KeyPath
from circuitlapse.config.problems import Problem, shown
from circuitlapse.config.task_rules import task_problems

Written = dict[str, Any]

REJECTED: Any = object()
"""Stands where a value was that is wrong in itself; rules say nothing about it."""


def rule_problems(written: Written, known: Iterable[Problem]) -> Iterator[Problem]:
    """Yield what is wrong between keys, passing over values with a known problem."""
    sound = _without(written, known)
    for section in ("models", "tasks"):
        yield from _unique(_entries(sound, section), "name")
    yield from _unique_labels(_entries(sound, "models"))
    yield from _known_originals(list(_entries(sound, "models")))
    yield from _ascending_steps(sound)
    yield from _saved_steps(sound)
    for where, model in _entries(sound, "models"):
        yield from _heads_fit((*where, "train"), _section(model, "train"))
    for where, task in _entries(sound, "tasks"):
        yield from task_problems(where, task)


def _without(written: Written, known: Iterable[Problem]) -> Written:
    sound = deepcopy(written)
    for problem in known:
        parent: Any = sound
        for step in problem.where[:-1]:
            parent = parent[step]
        parent[problem.where[-1]] = REJECTED
    return sound


def _section(parent: Written, name: str) -> Written:
    section = parent.get(name)
    return section if isinstance(section, dict) else {}


def _list(parent: Written, name: str) -> list[Any]:
    entries = parent.get(name)
    return entries if isinstance(entries, list) else []


def _entries(written: Written, section: str) -> Iterator[tuple[KeyPath, Written]]:
    for index, entry in enumerate(_list(written, section)):
        if entry is not REJECTED:
            yield (section, index), entry


def _unique(entries: Iterable[tuple[KeyPath, Written]], name: str) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for where, entry in entries:
        value = entry[name]
        if value is REJECTED:
            continue
        if value in first:
            section, index = first[value]
            taken = f"{shown(value)} is already the {name} of {section}[{index}]"
            yield Problem((*where, name), f"{taken}; {name}s must be unique.")
        first.setdefault(value, where)


def _unique_labels(entries: Iterable[tuple[KeyPath, Written]]) -> Iterator[Problem]:
    """Hold apart the labels of models with different names; one without label has its name."""
    labels = [(where, {"label": model["name"], **model}) for where, model in entries]
    first_of_name = {model["name"]: (where, model) for where, model in reversed(labels)}
    yield from _unique(sorted(first_of_name.values(), key=lambda entry: entry[0]), "label")


def _known_originals(entries: list[tuple[KeyPath, Written]]) -> Iterator[Problem]:
    """Check that every variant repeats a model that repeats none itself."""
    originals = {model["name"] for _, model in entries if model.get("variant_of") is None}
    for where, model in entries:
        wanted = model.get("variant_of")
        if wanted not in (None, REJECTED) and wanted not in originals:
            known = ", ".join(sorted(originals - {REJECTED, model["name"]}))
            yield Problem(
                (*where, "variant_of"),
                f"{shown(wanted)} must be the name of a model that is no variant: {known}.",
            )


def _analysed(written: Written) -> Iterator[tuple[KeyPath, list[Any]]]:
    """Yield each list of steps to analyse, and where it is."""
    yield ("steps",), _list(written, "steps")
    for where, model in _entries(written, "models"):
        yield (*where, "steps"), _list(model, "steps")


def _ascending_steps(written: Written) -> Iterator[Problem]:
    saved = ("training", "save_steps"), _list(_section(written, "training"), "save_steps")
    for where, steps in (*_analysed(written), saved):
        for index, (before, step) in enumerate(pairwise(steps), start=1):
            if REJECTED not in (before, step) and step <= before:
                yield Problem(
                    (*where, index),
                    f"= {step} must be larger than {before} before it; "
                    "steps ascend, and each is there once.",
                )


def _saved_steps(written: Written) -> Iterator[Problem]:
    saved = _list(_section(written, "training"), "save_steps")
    if not saved or REJECTED in saved:
        return
    for where, steps in _analysed(written):
        for index, step in enumerate(steps):
            if step is not REJECTED and step not in saved:
                near = _neighbours(step, sorted(saved))
                yield Problem((*where, index), f"= {step} is not a saved step; nearest {near}.")


def _neighbours(step: int, saved: list[int]) -> str:
    place = bisect_left(saved, step)
    near = [str(neighbour) for neighbour in saved[max(place - 1, 0) : place + 1]]
    return f"{'are' if len(near) > 1 else 'is'} {' and '.join(near)}"


def _heads_fit(where: KeyPath, train: Written) -> Iterator[Problem]:
    heads, d_model = train.get("heads", REJECTED), train.get("d_model", REJECTED)
    if REJECTED in (heads, d_model) or d_model % (8 * heads) == 0:
        return
    fitting = [str(n) for n in range(1, d_model // 8 + 1) if d_model % (8 * n) == 0]
    yield Problem(
        (*where, "heads"),
        f"= {heads} does not fit d_model = {d_model}: d_model / heads must be a multiple of 8, "
        "because rotary positions turn a quarter of each head, in pairs; "
        f"heads can be {', '.join(fitting)}.",
    )
