"""Look up the meaning and the allowed values of a key in the JSON schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from circuitlapse.config.schema import Config
from circuitlapse.settings.base import KeyPath

Node = dict[str, Any]
"""The JSON schema of one key."""

_KINDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "string": "text",
}
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


class _Plain(GenerateJsonSchema):
    """Leave out titles, which only repeat the keys, and keep everything in its order."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def sort(self, value: Node, parent_key: str | None = None) -> Node:  # noqa: ARG002
        return value


@cache
def json_schema() -> Node:
    """Return the JSON schema of the configuration (draft 2020-12)."""
    dialect = {"$schema": GenerateJsonSchema.schema_dialect}
    schema = dialect | Config.model_json_schema(schema_generator=_Plain)
    plain: Node = json.loads(json.dumps(schema), object_hook=_on_one_line)
    return plain


def _on_one_line(node: Node) -> Node:
    """Undo the line breaks of a docstring."""
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    return node


def node_at(where: KeyPath) -> Node:
    """Return the JSON schema of one key; KeyError if there is no such key."""
    node = json_schema()
    for step in where:
        node = _not_null(node)
        node = resolved(node["items"] if isinstance(step, int) else node["properties"][step])
    return node


def _not_null(node: Node) -> Node:
    """Return the schema for values other than null."""
    return resolved(node["anyOf"][0]) if "anyOf" in node else node


def resolved(node: Node) -> Node:
    """Return the node with its reference, if any, replaced by the definition.

    For an optional section, which is a reference or null, null is dropped.
    """
    references = [option for option in node.get("anyOf", ()) if "$ref" in option]
    if references:
        own = {name: value for name, value in node.items() if name not in ("anyOf", "default")}
        node = own | references[0]
    if "$ref" not in node:
        return node
    return {**json_schema()["$defs"][node["$ref"].rpartition("/")[2]], **node}


def allowed(node: Node) -> str:
    """Return the allowed values of a key in words that can follow "must be"."""
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "anyOf" in node:
        return " or ".join(allowed(resolved(option)) for option in node["anyOf"])
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    match node["type"]:
        case "array":
            return f"a list with at least one entry, each {allowed(resolved(node['items']))}"
        case "object":
            return f"a mapping with the keys {', '.join(node['properties'])}"
        case kind:
            return _KINDS[kind] + _limits(node)


def _limits(node: Node) -> str:
    multiple = f", a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
    bounds = [f"{words} {node[name]}" for name, words in _BOUNDS.items() if name in node]
    return multiple + (f", {' and '.join(bounds)}" if bounds else "")


def as_yaml(value: object, *, name: str) -> str:
    """Write a key and its value on one line of YAML."""
    line = yaml.safe_dump({name: value}, default_flow_style=True, sort_keys=False, width=10_000)
    return line.strip()[1:-1]
