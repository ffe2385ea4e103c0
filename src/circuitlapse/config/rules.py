"""What keys owe to each other: unique names, and the rules of models, steps and tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from circuitlapse.config.across_rules import across_problems
from circuitlapse.config.keys import KeyPath
from circuitlapse.config.model_rules import REJECTED, model_problems
from circuitlapse.config.problems import Problem, shown
from circuitlapse.config.step_rules import step_problems
from circuitlapse.config.task_rules import task_problems

Written = dict[str, Any]


def rule_problems(written: Written, known: Iterable[Problem]) -> Iterator[Problem]:
    """Yield what is wrong between keys, passing over values with a known problem."""
    sound = _without(written, known)
    models = list(_entries(sound, "models"))
    for section in ("models", "tasks"):
        yield from _unique(_entries(sound, section), "name")
    yield from _unique_labels(models)
    yield from model_problems(models)
    yield from step_problems(sound, models)
    yield from across_problems(sound, models)
    for where, task in _entries(sound, "tasks"):
        yield from task_problems(where, task)
    yield from _one_text(sound.get("heads"))
    yield from _results_folder(sound.get("results"))


def _without(written: Written, known: Iterable[Problem]) -> Written:
    sound = deepcopy(written)
    for problem in known:
        parent: Any = sound
        for step in problem.where[:-1]:
            parent = parent[step]
        parent[problem.where[-1]] = REJECTED
    return sound


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


def _one_text(heads: Any) -> Iterator[Problem]:
    given = heads if isinstance(heads, dict) else {}
    if given.get("text") is not None and given.get("dataset") is not None:
        yield Problem(("heads", "dataset"), "cannot stand beside heads.text; remove one of them.")
    text = given.get("text")
    if isinstance(text, str) and not Path(text).is_file():
        what = "is not a file" if Path(text).exists() else f"does not exist in {Path.cwd()}"
        yield Problem(("heads", "text"), f"{shown(text)} {what}.")


def _results_folder(results: Any) -> Iterator[Problem]:
    """Check that no file lies where the folder of results is to be."""
    if not isinstance(results, str):
        return
    for path in (Path(results), *Path(results).parents):
        if path.exists() and not path.is_dir():
            what = "is a file" if path == Path(results) else f"lies below {path}, which is a file"
            yield Problem(("results",), f"{shown(results)} {what}; it must be a folder, or free.")
