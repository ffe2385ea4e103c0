"""What the keys of the models owe to each other: seeds, shapes, and where weights come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from circuitlapse.config.keys import KeyPath
from circuitlapse.config.problems import Problem, dotted, missing, shown
from circuitlapse.config.schedules import PUBLISHED_BY
from circuitlapse.settings import Train

Entry = tuple[KeyPath, dict[str, Any]]

REJECTED: Any = object()
"""Stands where a value was that is wrong in itself; rules say nothing about it."""

_SHAPE = ("layers", "heads", "d_model")
_SEEDS = ("seed", "data_seed")


def model_problems(entries: list[Entry]) -> Iterator[Problem]:
    """Yield what is wrong between the keys of all models."""
    yield from _known_originals(entries)
    yield from _one_source(entries)
    yield from _different_models(entries)
    yield from _variants_fit(entries)
    yield from _some_circuits(entries)
    for where, model in entries:
        yield from _heads_fit((*where, "train"), model.get("train"))
        yield from _step_in_name((*where, "hub"), model.get("hub"))
        yield from _tokens_known((*where, "hub"), model.get("hub"))


def _known_originals(entries: list[Entry]) -> Iterator[Problem]:
    """Check that every variant repeats a model that repeats none itself."""
    originals = {model["name"] for _, model in entries if model.get("variant_of") is None}
    for where, model in entries:
        wanted = model.get("variant_of")
        if wanted not in (None, REJECTED) and wanted not in originals:
            known = ", ".join(sorted(originals - {REJECTED, model["name"]}))
            named = f": {known}" if known else ", and there is none beside this one"
            yield Problem(
                (*where, "variant_of"),
                f"{shown(wanted)} must be the name of a model that is no variant{named}.",
            )


def _different_models(entries: list[Entry]) -> Iterator[Problem]:
    """Check that no model is trained twice."""
    first: dict[tuple[Any, ...], KeyPath] = {}
    for where, model in entries:
        if (values := _trained(model, _SHAPE + _SEEDS)) is None:
            continue
        if values in first:
            yield Problem(
                (*where, "train"),
                f"is the same model as {dotted(first[values])}; give it another seed, data_seed or "
                "shape, or leave it out.",
            )
        first.setdefault(values, where)


def _variants_fit(entries: list[Entry]) -> Iterator[Problem]:
    """Check that a variant is of the size of the model that it repeats."""
    shapes = {model["name"]: _trained(model, _SHAPE) for _, model in entries}
    shapes.pop(REJECTED, None)
    for where, model in entries:
        own, wanted = _trained(model, _SHAPE), shapes.get(model.get("variant_of"))
        if own and wanted and own != wanted:
            size = ", ".join(f"{key}: {value}" for key, value in zip(_SHAPE, wanted, strict=True))
            yield Problem(
                (*where, "train"),
                f"must have the shape of {model['variant_of']}, which it is a variant of ({size}); "
                "only seeds may differ.",
            )


def _trained(model: dict[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return some keys of `train`, defaults filled in; None where there is something wrong."""
    train = model.get("train")
    if not isinstance(train, dict):
        return None
    fields = Train.model_fields
    values = tuple(train.get(key, fields[key].get_default()) for key in keys)
    wrong = REJECTED in values or any(fields[key].is_required() for key in set(keys) - set(train))
    return None if wrong else values


def _one_source(entries: list[Entry]) -> Iterator[Problem]:
    """Check that a model is trained here or published, and all of a suite alike."""
    sources = []
    for where, model in entries:
        given = [name for name in ("train", "hub") if model.get(name) is not None]
        if not given:
            yield missing((*where, "train"))
        elif len(given) == 2:
            sentence = "cannot stand beside train: a model is trained here or published."
            yield Problem((*where, "hub"), sentence)
        sources.append(given[:1])
        if given and sources[0] and given[0] != sources[0][0]:
            yield Problem(
                (*where, given[0]),
                f"cannot be in one suite with models[0].{sources[0][0]}: the models of a suite "
                "share one tokenizer; take a configuration of its own, with its own results.",
            )


def _some_circuits(entries: list[Entry]) -> Iterator[Problem]:
    """Check that there is a model whose circuits are asked for: all but one table need one."""
    if entries and all(model.get("circuits") is False for _, model in entries):
        (where, _), *_ = entries
        sentence = "= false for every model; at least one must have circuits: true."
        yield Problem((*where, "circuits"), sentence)


def _heads_fit(where: KeyPath, train: Any) -> Iterator[Problem]:
    shape = train if isinstance(train, dict) else {}
    heads, d_model = shape.get("heads", REJECTED), shape.get("d_model", REJECTED)
    if REJECTED in (heads, d_model) or d_model % (2 * heads) == 0:
        return
    fitting = [str(n) for n in range(1, d_model // 2 + 1) if d_model % (2 * n) == 0]
    yield Problem(
        (*where, "heads"),
        f"= {heads} does not fit d_model = {d_model}: d_model / heads must be even, "
        "because rotary positions turn the dimensions of a head in pairs; "
        f"heads can be {', '.join(fitting)}.",
    )


def _step_in_name(where: KeyPath, hub: Any) -> Iterator[Problem]:
    """Check that each step has a revision, or a folder, of its own."""
    given = hub if isinstance(hub, dict) else {}
    for name in ("revision", "folder"):
        pattern = given.get(name)
        if isinstance(pattern, str) and pattern.count("{step}") != 1:
            yield Problem(
                (*where, name),
                f"{shown(pattern)} must have {{step}} in it, once, where the number of the step "
                "stands.",
            )


def _tokens_known(where: KeyPath, hub: Any) -> Iterator[Problem]:
    """Check that it is known how much text a step is; it is of Pythia."""
    repo = hub.get("repo") if isinstance(hub, dict) else None
    if isinstance(repo, str) and not repo.startswith(PUBLISHED_BY) and "tokens_per_step" not in hub:
        yield missing((*where, "tokens_per_step"))
