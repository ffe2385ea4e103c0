"""What is wrong with a key, in one plain sentence; the checks of one key at a time."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from circuitlapse.config.keys import KeyPath, allowed, as_yaml, node_at
from circuitlapse.config.schema import Config

_PLAIN = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
"""Kinds of values that YAML writes without quotes, and what it makes of them."""


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, and a sentence that goes on from there."""

    where: KeyPath
    sentence: str

    def __str__(self) -> str:
        return f"{dotted(self.where)} {self.sentence}"


def dotted(where: KeyPath) -> str:
    """Write a key path as a user would: models[1].steps[2]."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """Write a value as it stands in YAML; only say what it is when it is long."""
    if isinstance(value, dict):
        return "(a mapping)"
    if isinstance(value, list):
        return "(a list)" if value else "= []"
    if isinstance(value, str):
        return f"= '{value}'"
    return f"= {json.dumps(value, default=str)}"


def nearest(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'NEAREST'?", or "." when nothing is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else "."


def schema_problems(written: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with single keys: misspelt, missing, or not an allowed value."""
    try:
        Config.model_validate(written)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return [_translated(detail) for detail in details if not _is_echo(detail)]
    return []


def missing(where: KeyPath) -> Problem:
    """Say that a required key is missing, what it means, and how to write it."""
    node = node_at(where)
    example = as_yaml(node["examples"][0], name=str(where[-1]))
    return Problem(where, f"is missing: {node['description']} For example '{example}'.")


def _translated(detail: ErrorDetails) -> Problem:
    match detail["type"]:
        case "missing":
            return missing(detail["loc"])
        case "extra_forbidden" | "invalid_key":
            return _unknown_key((*detail["loc"][:-1], str(detail["loc"][-1])))
        case _:
            return _not_allowed(detail["loc"], detail["input"])


def _unknown_key(where: KeyPath) -> Problem:
    known = node_at(where[:-1])["properties"]
    hint = nearest(where[-1], known)
    listed = f" (known: {', '.join(known)})" if hint == "." else ""
    return Problem(where, f"is not a known key{listed}{hint}")


def _not_allowed(where: KeyPath, value: object) -> Problem:
    node = node_at(where)
    not_null = node.get("anyOf", [node])[0]
    hint = nearest(value, not_null["enum"]) if "enum" in not_null else "."
    if isinstance(value, str) and not_null.get("type") in _PLAIN:
        hint = _text_hint(value, not_null["type"])
    return Problem(where, f"{shown(value)} must be {allowed(node)}{hint}")


def _text_hint(value: str, kind: str) -> str:
    """Say how to write text so that YAML reads it as what it looks like, if it does."""
    with suppress(yaml.YAMLError):
        if type(yaml.safe_load(value)) in _PLAIN[kind]:
            return "; this is text to YAML: take away the quotes."
    with suppress(ValueError):
        if kind == "number" and isfinite(float(value)):
            return "; this is text to YAML: a number needs a dot, such as 1.0e-3 for 1e-3."
    return "."


def _is_echo(detail: ErrorDetails) -> bool:
    """Is this only pydantic calling a list too short because some of its entries did not pass?"""
    return detail["type"] == "too_short" and detail["ctx"]["actual_length"] < len(detail["input"])
