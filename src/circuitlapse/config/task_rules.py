"""What the keys of one task owe to each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circuitlapse.config.keys import KeyPath
from circuitlapse.config.problems import Problem, missing, nearest, shown
from circuitlapse.errors import TaskError
from circuitlapse.settings import TASK_OPTIONS
from circuitlapse.tasks.prompt_file import check_file
from circuitlapse.tasks.registry import BUILDERS


def task_problems(where: KeyPath, task: dict[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong between the keys of a task.

    A value that is wrong in itself is neither text nor None here; it counts as given.
    """
    if task.get("file") is not None:
        builder = None
        yield from _file_problems(where, task)
    else:
        builder = task.get("builder") or task["name"]
        yield from _builder_problems(where, task, builder)
    for option in TASK_OPTIONS:
        owners = [name for name, one in BUILDERS.items() if option in one.options]
        if isinstance(task.get(option), str) and builder in {None, *BUILDERS} - {*owners}:
            wrong = f"{shown(task[option])} is only for the builder {' or '.join(owners)}."
            yield Problem((*where, option), wrong)


def _file_problems(where: KeyPath, task: dict[str, Any]) -> Iterator[Problem]:
    file = task["file"]
    if task.get("builder") is not None:
        yield Problem(
            (*where, "builder"),
            "cannot stand beside file: the prompts of a task come from one of them; remove one.",
        )
    if task.get("metric") is None:
        yield missing((*where, "metric"))
    if isinstance(file, str) and (problem := _contents_problem(Path(file))):
        yield Problem((*where, "file"), f"{shown(file)} {problem}.")


def _contents_problem(file: Path) -> str:
    if not file.is_file():
        return f"does not exist in {Path.cwd()}"
    try:
        check_file(file)
    except TaskError as error:
        return f"cannot be used: {str(error).removeprefix(f'{file}: ')}"
    return ""


def _builder_problems(where: KeyPath, task: dict[str, Any], builder: Any) -> Iterator[Problem]:
    known = BUILDERS.get(builder) if isinstance(builder, str) else None
    if known is None:
        if isinstance(builder, str):
            yield _unknown_builder(where, builder)
        return
    if isinstance(task.get("metric"), str):
        yield Problem(
            (*where, "metric"),
            f"is only for a task with a file; the builder {builder} fixes it: {known.metric}.",
        )
    if not known.finite and task.get("n_prompts", 0) is None:
        yield Problem(
            (*where, "n_prompts"),
            f"= null takes all prompts there are, but the builder {builder} draws them at random; "
            "give a number.",
        )


def _unknown_builder(where: KeyPath, name: str) -> Problem:
    return Problem(
        (*where, "name"),
        f"= '{name}' is not a built-in task ({', '.join(BUILDERS)}), "
        f"so the task needs a builder or a file{nearest(name, BUILDERS)}",
    )
