"""What the lists of steps owe to the models: ascending, and weights there for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from circuitlapse.config.keys import KeyPath
from circuitlapse.config.model_rules import REJECTED, Entry
from circuitlapse.config.problems import Problem, shown
from circuitlapse.config.schedules import PUBLISHED, PUBLISHED_BY, SCHEDULES
from circuitlapse.settings import Training

Written = dict[str, Any]


def step_problems(written: Written, models: list[Entry]) -> Iterator[Problem]:
    """Yield what is wrong with the steps that are analysed, saved or asked for by a name."""
    training = written.get("training")
    saved = steps_in(training if isinstance(training, dict) else {}, "save_steps")
    yield from ascending(("training", "save_steps"), saved)
    yield from _peak_reached(training, saved)
    yield from ascending(("steps",), steps_in(written, "steps"))
    for where, model in models:
        yield from ascending((*where, "steps"), steps_in(model, "steps"))
    done = set()
    for where, model in models:
        place, steps = analysed(written, where, model)
        yield from _some_folder_there((*where, "hub"), model.get("hub"), steps)
        known, what = _known_steps(model, saved)
        if known and (place, what) not in done:
            done.add((place, what))
            yield from _there(place, steps, known, what)
    with_circuits = [entry for entry in models if entry[1].get("circuits", True) is True]
    lists = [analysed(written, where, model)[1] for where, model in with_circuits]
    yield from _shared_reference(written, [set(steps) for steps in lists if steps])


def _peak_reached(training: Any, saved: Sequence[Any]) -> Iterator[Problem]:
    """Check that the learning rate has reached its peak before training ends."""
    given = training if isinstance(training, dict) else {}
    steps = given.get("warmup_steps", Training.model_fields["warmup_steps"].default)
    if saved and REJECTED not in (steps, saved[-1]) and 0 < saved[-1] <= steps:
        yield Problem(
            ("training", "warmup_steps"),
            f"= {steps} must be smaller than {saved[-1]}, the last of training.save_steps: "
            "the learning rate would not reach its peak.",
        )


def _some_folder_there(where: KeyPath, hub: Any, steps: Sequence[Any]) -> Iterator[Problem]:
    """Check that there is a folder of at least one step."""
    pattern = hub.get("folder") if isinstance(hub, dict) else None
    if not isinstance(pattern, str) or not steps or REJECTED in steps:
        return
    folders = [pattern.replace("{step}", str(step)) for step in steps]
    if not any(Path(folder).is_dir() for folder in folders):
        yield Problem(
            (*where, "folder"),
            f"{shown(pattern)} is there for none of the steps; there is no folder {folders[0]}, "
            "for example.",
        )


def steps_in(parent: Written, name: str) -> list[Any]:
    """Return the list that a section has under a name, or nothing where that is no list."""
    steps = parent.get(name)
    return steps if isinstance(steps, list) else []


def analysed(written: Written, where: KeyPath, model: Written) -> tuple[KeyPath, Sequence[Any]]:
    """Return where the steps of a model stand, and the steps."""
    for place, parent in ((where, model), ((), written)):
        if parent is model and "steps" in model:
            return (*place, "steps"), steps_in(model, "steps")
        if (name := parent.get("schedule")) is not None:
            return (*place, "schedule"), SCHEDULES.get(name, ()) if name is not REJECTED else ()
    return ("steps",), steps_in(written, "steps")


def _known_steps(model: Written, saved: Sequence[Any]) -> tuple[Sequence[int], str]:
    """Return the steps at which there are weights of a model, and what such a step is called."""
    hub = model.get("hub")
    if isinstance(hub, dict):
        published = str(hub.get("repo")).startswith(PUBLISHED_BY) and not hub.get("folder")
        return (PUBLISHED, "published") if published else ((), "")
    return ((), "") if REJECTED in saved else (sorted(saved), "saved")


def ascending(where: KeyPath, steps: Sequence[Any]) -> Iterator[Problem]:
    """Yield each step that is not larger than the one before it."""
    for index, (before, step) in enumerate(pairwise(steps), start=1):
        if REJECTED not in (before, step) and step <= before:
            yield Problem(
                (*where, index),
                f"= {step} must be larger than {before} before it; "
                "steps ascend, and each is there once.",
            )


def _there(
    where: KeyPath, steps: Sequence[Any], known: Sequence[int], what: str
) -> Iterator[Problem]:
    for index, step in enumerate(steps):
        if step is not REJECTED and step not in known:
            near = neighbours(step, known)
            if where[-1] == "schedule":
                yield Problem(
                    where, f"has step {step}, which is not a {what} step; nearest {near}."
                )
                return
            yield Problem((*where, index), f"= {step} is not a {what} step; nearest {near}.")


def _shared_reference(written: Written, lists: list[set[Any]]) -> Iterator[Problem]:
    """Check that circuits of every model can be compared with that of the reference step."""
    stability = written.get("stability")
    wanted = stability.get("reference_step") if isinstance(stability, dict) else None
    if wanted in (None, REJECTED) or not lists or any(REJECTED in steps for steps in lists):
        return
    shared = sorted(set.intersection(*lists))
    if wanted not in shared:
        near = f"nearest {neighbours(wanted, shared)}" if shared else "they share none"
        yield Problem(
            ("stability", "reference_step"),
            f"= {wanted} is not a step at which all models have circuits; {near}.",
        )


def neighbours(step: int, known: Sequence[int]) -> str:
    """Return for instance "are 10 and 20" for 11; "is 20" for 30."""
    place = bisect_left(known, step)
    near = [str(neighbour) for neighbour in known[max(place - 1, 0) : place + 1]]
    return f"{'are' if len(near) > 1 else 'is'} {' and '.join(near)}"
