"""Read the configuration, or say everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitlapse.config.problems import schema_problems
from circuitlapse.config.rules import rule_problems
from circuitlapse.config.schedules import SCHEDULES
from circuitlapse.config.schema import Config
from circuitlapse.config.sources import COMMAND_LINE, Source, place, read_sources, with_types
from circuitlapse.errors import ConfigError
from circuitlapse.settings import TOKENS_PER_STEP
from circuitlapse.tasks.registry import BUILDERS


def load_config(merged: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """Check the configuration and fill in every default.

    Args:
        merged: What Snakemake made of all files and of `--config`: mappings are merged, of
            anything else the later one counts.
        files: The files that it came from; a later file overrides an earlier one.

    Raises:
        ConfigError: Something is wrong. The message has one line per problem, in the order of
            the files: who set the key, the key, what was found, what is allowed.
    """
    sources = read_sources(files)
    written = with_types(merged, sources)
    lines = [source.mistake for source in sources if source.mistake]
    lines += _problem_lines(written, sources)
    if lines:
        raise ConfigError("\n".join(lines))
    return Config.model_validate(_filled_in(written))


def _problem_lines(written: dict[str, Any], sources: Sequence[Source]) -> list[str]:
    problems = schema_problems(written)
    problems += rule_problems(written, problems)
    places = [place(problem.where, merged=written, sources=sources) for problem in problems]
    names = [*(source.name for source in sources), COMMAND_LINE]
    in_order = sorted(zip(places, problems, strict=True), key=lambda pair: pair[0])
    return [f"{names[place.rank]}: {problem}" for place, problem in in_order]


def _filled_in(written: dict[str, Any]) -> dict[str, Any]:
    """Add the values that depend on other keys; nothing is wrong with `written`."""
    seed = written.get("seed", Config.model_fields["seed"].default)
    steps = _steps(written) or written["steps"]
    models = [_filled_in_model(model, steps) for model in written["models"]]
    tasks = [_filled_in_task(task, seed) for task in written["tasks"]]
    bootstrap = {"seed": seed, **written.get("bootstrap", {})}
    filled = {"steps": steps, "models": models, "tasks": tasks, "bootstrap": bootstrap}
    return {**written, **filled}


def _filled_in_model(model: dict[str, Any], steps: Sequence[int]) -> dict[str, Any]:
    filled = {"label": model["name"], **model}
    if model.get("hub") is not None:
        filled["hub"] = {"tokens_per_step": TOKENS_PER_STEP, **model["hub"]}
    return {**filled, "steps": model.get("steps") or _steps(model) or steps}


def _steps(section: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the steps of the schedule that a section names, if it does."""
    name = section.get("schedule")
    return SCHEDULES[name] if name is not None else ()


def _filled_in_task(task: dict[str, Any], seed: int) -> dict[str, Any]:
    given = {name: value for name, value in task.items() if value is not None}
    if "file" in given:
        return {"n_prompts": None, "seed": seed, **given}
    name = given.get("builder", given["name"])
    builder = BUILDERS[name]
    options = {option: values[0] for option, values in builder.options.items()}
    fixed = {"builder": name, "metric": builder.metric, **options}
    n_prompts = task.get("n_prompts", 100)  # null is a value of its own
    return {"seed": seed, **fixed, **given, "n_prompts": n_prompts}
