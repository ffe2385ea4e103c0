"""Turn the errors of pydantic into plain sentences, one per problem."""

from __future__ import annotations

import json
from contextlib import suppress
from math import isfinite
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from circuitlapse.config.cross_field import dotted
from circuitlapse.config.keys import allowed, as_yaml, node_at
from circuitlapse.config.schema import Config
from circuitlapse.config.yaml_text import parsed
from circuitlapse.errors import ConfigError, printable
from circuitlapse.settings.base import RULE, KeyPath, Problem, nearest

_PLAIN = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
"""Kinds of values that YAML writes without quotes, and the Python types it reads them as."""

_MOST = 200
"""At most this many errors of pydantic are turned into sentences, which takes time."""
_SHOWN = 80
"""Longest text that a message repeats in full, in characters."""


def found_problems(written: dict[Any, Any]) -> tuple[Config | None, list[Problem]]:
    """Check a configuration: return it, or every problem in it.

    Pydantic checks rules between sections only where all sections are valid. The rules are
    therefore checked again on the valid parts, so that one run reports both kinds of problems.
    """
    try:
        return Config.model_validate(written), []
    except ValidationError as error:
        details = [one for one in error.errors(include_url=False) if not _is_echo(one)]
        problems = [_translated(detail) for detail in details[:_MOST]]
        across = Config.of_valid_parts(written).problems()
        return None, list(dict.fromkeys([*problems, *across]))


def as_line(problem: Problem) -> str:
    """Write a problem as one sentence."""
    return f"{dotted(problem.where)} {problem.sentence}"


def _shown(value: object) -> str:
    """Write a value as it stands in YAML; of a long one, write only what it is."""
    if isinstance(value, dict):
        return "(a mapping)"
    if isinstance(value, list):
        return "(a list)" if value else "= []"
    if isinstance(value, str):
        return f"= '{_short(value)}'"
    text = json.dumps(value, default=str)
    return f"= {_short(text)}"


def _short(text: str) -> str:
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def _missing(where: KeyPath) -> Problem:
    """Say that a required key is missing, what it means, and how to write it."""
    node = node_at(where)
    example = as_yaml(node["examples"][0], name=str(where[-1]))
    return Problem(where, f"is missing: {node['description']} For example '{example}'.")


def _translated(detail: ErrorDetails) -> Problem:
    match detail["type"]:
        case "missing":
            return _missing(detail["loc"])
        case "extra_forbidden" | "invalid_key":
            return _unknown_key((*detail["loc"][:-1], _short(str(detail["loc"][-1]))))
        case kind if kind == RULE:
            return Problem(detail["loc"], detail["ctx"]["sentence"])
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
    return Problem(where, f"{_shown(value)} must be {allowed(node)}{hint}")


def _text_hint(value: str, kind: str) -> str:
    """Say how to write text so that YAML reads it as what it looks like, if it does."""
    with suppress(ConfigError):
        if type(parsed(value)) in _PLAIN[kind]:
            return "; YAML reads this as text: remove the quotes."
    with suppress(ValueError):
        if kind == "number" and isfinite(float(value)):
            return "; YAML reads this as text: a number needs a dot, such as 1.0e-3 for 1e-3."
    return "."


def _is_echo(detail: ErrorDetails) -> bool:
    """Tell whether an error only follows from another one.

    A list is called too short when its only entry is refused; a default that depends on other
    keys cannot be made while one of them is refused.
    """
    if detail["type"] == "too_short":
        return bool(detail["ctx"]["actual_length"] < len(detail["input"]))
    return detail["type"] == "default_factory_not_called"
