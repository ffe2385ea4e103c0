"""Cross-field validation: rules between sections, and paths that must exist.

Each section checks the rules between its own keys (`settings`). Where a value is wrong in itself,
`INVALID` stands in its place, and no rule says anything about it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitlapse.errors import NOTHING, TaskError, no_file
from circuitlapse.paths import Clone
from circuitlapse.settings.base import INVALID, PUBLISHED, PYTHIA_PREFIX, KeyPath, Problem
from circuitlapse.settings.suite import Model, Train
from circuitlapse.tasks.prompt_file import check_file
from circuitlapse.types import Level

if TYPE_CHECKING:
    from circuitlapse.config.schema import Config

Named = Iterable[tuple[KeyPath, Any]]
"""Values with their keys."""


def problems(config: Config) -> Iterator[Problem]:
    """Yield every broken rule."""
    models = list(_entries(("models",), config.models))
    tasks = list(_entries(("tasks",), config.tasks))
    yield from _names(models, tasks)
    yield from _variants(models)
    yield from _suite(models)
    if config.models is not INVALID and INVALID not in config.models:
        yield from _all_models(config, models)
    yield from _order(config, models)
    yield from _steps_exist(config, models)
    yield from _pairs(config)
    yield from _files(config, tasks)
    yield from _folders(config, models)
    yield from _clone(config, models)
    yield from _node_circuits(config)


def dotted(where: KeyPath) -> str:
    """Write a key path as a user would: models[1].steps[2]."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return "".join(parts).removeprefix(".")


def _entries(where: KeyPath, values: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the valid entries of a list with their keys."""
    listed = () if values in (INVALID, None) else values
    return (((*where, i), value) for i, value in enumerate(listed) if value is not INVALID)


def _listed_in(config: Config, section: str, key: str) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the valid entries of a list in a section, if the section is valid."""
    return _entries((section, key), getattr(getattr(config, section), key, None))


def _names(models: list[tuple[KeyPath, Model]], tasks: Named) -> Iterator[Problem]:
    """Check that names are unique, and labels of models with different names too."""
    yield from _unique("name", ((where, model.name) for where, model in models))
    yield from _unique("name", ((where, task.name) for where, task in tasks))
    first = {model.name: (where, model.label) for where, model in reversed(models)}
    yield from _unique("label", sorted(first.values()))


def _unique(key: str, named: Named) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for where, value in named:
        if value in first:
            taken = f"= '{value}' is already the {key} of {dotted(first[value])}"
            yield Problem((*where, key), f"{taken}; {key}s must be unique.")
        first.setdefault(value, where)


def _variants(models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that a variant has the shape of the model that it repeats."""
    trained = {model.name: model.train for _, model in models if model.train}
    for where, model in models:
        own, original = model.train, trained.get(model.variant_of or "")
        if own and original and (wanted := _shape(original)) != _shape(own):
            yield Problem(
                (*where, "train"),
                f"must have the shape of {model.variant_of}, the model that it is a variant of "
                f"({', '.join(f'{key}: {size}' for key, size in wanted.items())}); only seeds may "
                "differ.",
            )


def _shape(train: Train) -> dict[str, int]:
    return train.model_dump(include={"layers", "heads", "d_model"})


def _suite(models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that no model is trained twice, and that all have one kind of source."""
    first: dict[Train, KeyPath] = {}
    for where, model in models:
        if model.train in first:
            yield Problem(
                (*where, "train"),
                f"is the same model as {dotted(first[model.train])}; change its seed, data_seed or "
                "shape, or remove it.",
            )
        elif model.train:
            first[model.train] = where
    sources = [(where, "train" if m.train else "hub") for where, m in models if m.train or m.hub]
    for where, source in sources:
        first_model, kind = sources[0]
        if source != kind:
            yield Problem(
                (*where, source),
                f"cannot be combined with {dotted(first_model)}.{kind}: the models of a suite "
                "share one tokenizer; use another configuration with its own results.",
            )


def _all_models(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check what can be said only if all models are valid."""
    originals = {model.name for _, model in models if model.variant_of is None}
    for where, model in models:
        if model.variant_of is not None and model.variant_of not in originals:
            known = ", ".join(sorted(originals - {model.name}))
            found = f"= '{model.variant_of}' must be the name of a model that is not a variant"
            listed = f": {known}." if known else ", and there is no other model."
            yield Problem((*where, "variant_of"), found + listed)
    if not any(model.circuits for _, model in models):
        sentence = "= false for every model; at least one must have circuits: true."
        yield Problem((*models[0][0], "circuits"), sentence)
    yield from _steps_shared(config, models)


def _order(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that the steps of every list ascend."""
    lists = [
        _entries(("steps",), config.steps),
        _listed_in(config, "training", "save_steps"),
        _listed_in(config, "transfer", "steps"),
        *(_entries((*where, "steps"), model.steps) for where, model in models),
    ]
    for (_, before), (where, step) in chain.from_iterable(map(pairwise, lists)):
        if step <= before:
            sentence = f"= {step} must be larger than {before} before it; steps must ascend, "
            yield Problem(where, f"{sentence}without repeats.")


def _steps_exist(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that every analysed step is saved or published, as far as that is known."""
    saved = getattr(config.training, "save_steps", (INVALID,))
    seen = set()
    for where, model in models:
        known, kind = saved, "saved"
        if model.hub:
            elsewhere = model.hub.folder or not model.hub.repo.startswith(PYTHIA_PREFIX)
            known, kind = (INVALID,) if elsewhere else PUBLISHED, "published"
            if model.hub.revisions and not model.hub.folder:
                known, kind = tuple(model.hub.revisions), "listed"
        place, steps = config.analysed(where, model)
        if INVALID not in known and (place, kind) not in seen:
            seen.add((place, kind))
            yield from _in_list(place, steps, sorted(known), kind)


def _in_list(place: KeyPath, steps: Any, known: Sequence[int], kind: str) -> Iterator[Problem]:
    for where, step in _entries(place, steps):
        if step in known:
            continue
        near = _neighbours(step, known)
        if place[-1] == "schedule":  # a schedule has no single steps to point at
            yield Problem(place, f"has step {step}, which is not a {kind} step; nearest {near}.")
            return
        yield Problem(where, f"= {step} is not a {kind} step; nearest {near}.")


def _steps_shared(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that every model has circuits at the steps that are compared or exchanged."""
    lists = [config.analysed(where, model)[1] for where, model in models if model.circuits]
    if not lists or any(s is INVALID or INVALID in s for s in lists):
        return
    shared = sorted(set.intersection(*map(set, lists)))
    named = [*_listed_in(config, "transfer", "steps")]
    for where, pair in _listed_in(config, "swaps", "pairs"):
        named += [((*where, index), step) for index, step in enumerate(pair)]
    reference = getattr(config.stability, "reference_step", None)
    named += [(("stability", "reference_step"), reference)] if reference is not None else []
    for where, step in named:
        if step is not INVALID and step not in shared:
            near = f"nearest {_neighbours(step, shared)}" if shared else "they share none"
            sentence = f"= {step} is not a step at which all models have circuits; {near}."
            yield Problem(where, sentence)


def _neighbours(step: int, known: Sequence[int]) -> str:
    """Return for instance "are 10 and 20" for 11; "is 20" for 30."""
    place = bisect_left(known, step)
    near = [str(neighbour) for neighbour in known[max(place - 1, 0) : place + 1]]
    return f"{'are' if len(near) > 1 else 'is'} {' and '.join(near)}"


def _pairs(config: Config) -> Iterator[Problem]:
    """Check that no pair repeats a step or another pair."""
    seen = set()
    for where, pair in _listed_in(config, "swaps", "pairs"):
        if INVALID in pair:
            continue
        if pair[0] == pair[1]:
            yield Problem(where, f"= {list(pair)} must be two different steps.")
        if pair in seen:
            yield Problem(where, f"= {list(pair)} repeats an earlier pair.")
        seen.add(pair)


def _files(config: Config, tasks: Named) -> Iterator[Problem]:
    """Check the files that the user provides."""
    for where, task in tasks:
        if task.file is not None and (problem := _contents_problem(Path(task.file))):
            yield Problem((*where, "file"), f"= '{task.file}' {problem}.")
    text = getattr(config.heads, "text", None)
    if text is not None and (problem := _missing(Path(text))):
        yield Problem(("heads", "text"), f"= '{text}' {problem}.")


def _missing(file: Path) -> str:
    found = no_file(file)
    if found == NOTHING:
        return f"does not exist in {Path.cwd()}"
    return f"must be a file, found {found}" if found else ""


def _contents_problem(file: Path) -> str:
    if missing := _missing(file):
        return missing
    try:
        check_file(file)
    except TaskError as error:
        return f"cannot be used: {str(error).removeprefix(f'{file}: ')}"
    return ""


def _folders(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that no file blocks the folder of results, and published steps have folders."""
    results = "." if config.results is INVALID else config.results
    for path in (Path(results), *Path(results).parents):
        if path.exists() and not path.is_dir():
            what = "is a file" if path == Path(results) else f"lies below {path}, which is a file"
            yield Problem(("results",), f"= '{results}' {what}; choose another folder.")
    for where, model in models:
        steps = config.analysed(where, model)[1]
        if not (model.hub and model.hub.folder and steps) or steps is INVALID or INVALID in steps:
            continue
        folders = [model.hub.source(step)["folder"] for step in steps]
        if not any(Path(folder).is_dir() for folder in folders):
            sentence = (
                f"= '{model.hub.folder}' exists for none of the steps; for example, there is no "
            )
            yield Problem((*where, "hub", "folder"), f"{sentence}folder {folders[0]}.")


def _clone(config: Config, models: list[tuple[KeyPath, Model]]) -> Iterator[Problem]:
    """Check that the clone of the authors' repository has graphs of one of the models."""
    folder = getattr(config.compare, "published", None)
    if folder is None:
        return
    where, clone = ("compare", "published"), Clone(folder)
    if not (known := clone.models()):
        yield Problem(where, f"= '{folder}' has no folder results/graphs; it must be a clone.")
        return
    own = [Clone.name_of(model.name, model.hub.repo if model.hub else None) for _, model in models]
    if not any(clone.graphs(name, task) for name in own for task in Clone.TASKS):
        sentence = f"= '{folder}' has no graphs of {', '.join(own)}; it has models named "
        yield Problem(where, f"{sentence}{', '.join(known)}.")


def _node_circuits(config: Config) -> Iterator[Problem]:
    """Check the keys that say nothing of node circuits."""
    if getattr(config.circuits, "level", None) != Level.NODE:
        return
    if "selection" in config.circuits.model_fields_set:
        yield Problem(
            ("circuits", "selection"),
            "cannot be combined with circuits.level: node: it is about edges, and nodes are taken "
            "by their scores; remove one of them.",
        )
    if getattr(config.compare, "published", None) is not None:
        yield Problem(
            ("compare", "published"),
            "cannot be combined with circuits.level: node: the authors' circuits are of edges, and "
            "the noise floor of node circuits says nothing of them; remove one of them.",
        )
