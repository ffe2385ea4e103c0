"""What is generated: the JSON schema as YAML, and the tables of some pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml

from circuitlapse.config.keys import Node, allowed, json_schema, resolved
from circuitlapse.figures.registry import figure_rows, rule_rows

REPAIR = "python -m circuitlapse.config --write"
BEGIN, END = "<!-- begin: written by {} -->", "<!-- end -->"
SCHEMA = "workflow/schemas/config.schema.yaml"
_HEADER = "| key | meaning | allowed | default | runs again |\n| --- | --- | --- | --- | --- |\n"


def schema_text() -> str:
    """Return the JSON schema of the configuration, as YAML."""
    head = f"# Written by {REPAIR}; do not edit.\n"
    return head + yaml.safe_dump(json_schema(), sort_keys=False, allow_unicode=True, width=100)


def with_text(page: str, text: str, *, command: str = REPAIR) -> str:
    """Return a page with everything between its two marks replaced by what a command writes.

    Raises:
        ValueError: The page does not have each mark once, in this order.
    """
    begin = BEGIN.format(command)
    if (page.count(begin), page.count(END)) != (1, 1) or page.index(begin) > page.index(END):
        raise ValueError(f"expected one line {begin!r} and, below it, one line {END!r}")
    before, rest = page.split(begin)
    _, after = rest.split(END)
    return f"{before}{begin}\n{text}{END}{after}"


def write_all(root: Path) -> None:
    """Write the JSON schema and the tables of all pages below a folder.

    Raises:
        ValueError: A page lacks its marks.
    """
    (root / SCHEMA).write_text(schema_text(), encoding="utf-8")
    for path, table in PAGES.items():
        page = (root / path).read_text(encoding="utf-8")
        try:
            (root / path).write_text(with_text(page, table()), encoding="utf-8")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def key_tables() -> str:
    """Return one table of keys per section, in Markdown."""
    top = json_schema()
    plain = "".join(_rows(top, "", nested=False))
    return f"### Top level\n\n{_HEADER}{plain}\n" + "".join(_sections(top))


def _sections(top: Node) -> Iterator[str]:
    for name, child in top["properties"].items():
        if inner := _section_in(child):
            rows = "".join(_rows(inner, _prefix(name, child)))
            yield f"### {name}\n\n{resolved(child)['description']}\n\n{_HEADER}{rows}\n"


def _rows(section: Node, prefix: str, *, nested: bool = True) -> Iterator[str]:
    for name, child in section["properties"].items():
        inner = _section_in(child)
        if inner and nested:
            yield from _rows(inner, prefix + _prefix(name, child))
        elif not inner:
            node = resolved(child)
            value = _default(section, name)
            again = node.get("x-reruns") or section["x-reruns"]
            cells = (node["description"], allowed(node), value, again)
            yield f"| `{prefix}{name}` | {' | '.join(cells)} |\n"


def _section_in(node: Node) -> Node | None:
    """Return the section that is the value of a key, or of each entry of its list."""
    node = resolved(node)
    if node.get("type") == "array":
        return _section_in(node["items"])
    return node if "properties" in node else None


def _prefix(name: str, node: Node) -> str:
    return f"{name}[]." if resolved(node).get("type") == "array" else f"{name}."


def _default(section: Node, name: str) -> str:
    node = section["properties"][name]
    if name in section.get("required", ()):
        return "required"
    return str(node.get("x-otherwise") or json.dumps(node["default"]).strip('"'))


PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": figure_rows,
    "config/README.md": key_tables,
    "docs/workflow.md": rule_rows,
}
"""Every page with a generated table, and what makes the table."""
