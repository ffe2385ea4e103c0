"""What the steps between which something is exchanged owe to the models, and to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from circuitlapse.config.keys import KeyPath
from circuitlapse.config.model_rules import REJECTED, Entry
from circuitlapse.config.problems import Problem
from circuitlapse.config.step_rules import analysed, ascending, neighbours, steps_in

Written = dict[str, Any]


def across_problems(written: Written, models: list[Entry]) -> Iterator[Problem]:
    """Yield what is wrong with the steps that exchange circuits, and those that swap heads."""
    steps = steps_in(_section(written, "transfer"), "steps")
    yield from ascending(("transfer", "steps"), steps)
    shared = _shared_steps(written, models)
    if shared is not None:
        named = [(("transfer", "steps", index), step) for index, step in enumerate(steps)]
        yield from _shared_by_all([*named, *_steps_of_pairs(written)], shared)
    yield from _different_pairs(written)


def _section(written: Written, name: str) -> Written:
    section = written.get(name)
    return section if isinstance(section, dict) else {}


def _pairs(written: Written) -> Iterator[tuple[KeyPath, list[Any]]]:
    for index, pair in enumerate(steps_in(_section(written, "swaps"), "pairs")):
        if pair is not REJECTED:
            yield ("swaps", "pairs", index), pair


def _steps_of_pairs(written: Written) -> Iterator[tuple[KeyPath, Any]]:
    for where, pair in _pairs(written):
        for index, step in enumerate(pair):
            yield (*where, index), step


def _shared_steps(written: Written, models: list[Entry]) -> list[int] | None:
    """Return the steps at which all models have circuits; None where some are not known."""
    lists = [
        analysed(written, where, model)[1]
        for where, model in models
        if model.get("circuits") is not False
    ]
    if not all(steps and REJECTED not in steps for steps in lists):
        return None
    return sorted(set.intersection(*map(set, lists))) if lists else None


def _shared_by_all(named: list[tuple[KeyPath, Any]], shared: list[int]) -> Iterator[Problem]:
    for where, step in named:
        if step is not REJECTED and step not in shared:
            near = f"nearest {neighbours(step, shared)}" if shared else "they share none"
            what = f"= {step} is not a step at which all models are analysed"
            yield Problem(where, f"{what}; {near}.")


def _different_pairs(written: Written) -> Iterator[Problem]:
    seen: list[list[Any]] = []
    for where, pair in _pairs(written):
        if REJECTED in pair:
            continue
        if pair[0] == pair[1]:
            yield Problem(where, f"= {pair} must be two different steps.")
        if pair in seen:
            yield Problem(where, f"= {pair} is there already; each pair once.")
        seen.append(pair)
