"""YAML with limits: no text of a user takes long, fills the memory or ends in a Python error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from circuitlapse.errors import NOTHING, ConfigError, no_file, printable

LARGEST_KB = 256
"""Size of the largest configuration that is read; those of this repository have 1 to 6."""
MOST_VALUES = 10_000
"""Keys and values in a configuration, where what is behind an alias counts every time."""
DEEPEST = 50
"""Levels of nested lists and mappings."""
LARGEST_NUMBER = 2**63

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What Python raises for text that does not fit its tag, such as `!!int 0x`."""


def read_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: with the place and the reason, but without the name of the file.
    """
    if (found := no_file(path)) not in ("", NOTHING):
        raise ConfigError(f"must be a file, found {found}")
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(1024 * LARGEST_KB + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    if len(content) > 1024 * LARGEST_KB:
        raise ConfigError(f"must have at most {LARGEST_KB} kB, found more")
    try:
        return parsed(content.decode("utf-8-sig"))
    except UnicodeError as error:
        raise ConfigError("is not UTF-8 text") from error


def parsed(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        ConfigError: with the place and the reason.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}," if mark else "it"
        raise ConfigError(f"{where} is not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        character = printable(chr(error.character))
        raise ConfigError(f"is not valid YAML: found the character '{character}'") from error
    except _UNREADABLE as error:
        raise ConfigError(f"is not valid YAML: {error}") from error


def refuse_unusable(value: Any) -> None:
    """Refuse a value that is too large or too deep, contains itself, or holds text without UTF-8.

    Raises:
        ConfigError: with the reason.
    """
    waiting, seen = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST:
            raise ConfigError(f"must have at most {DEEPEST} levels of lists and mappings")
        if seen + len(waiting) > MOST_VALUES:
            raise ConfigError(f"must have at most {MOST_VALUES} keys and values")
        if isinstance(one, str) and not _is_unicode(one):
            raise ConfigError(f"= '{one}' is not UTF-8 text")
        inner = [*one, *one.values()] if isinstance(one, dict) else one
        inner = inner if isinstance(inner, list) else []
        waiting += [(each, depth + 1) for each in inner]


class _Loader(yaml.SafeLoader):
    """SafeLoader with limits that rejects duplicate keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._n_values = 0
        self._sizes: dict[str, int | None] = {}
        """Of what each anchor names; None inside of it."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count what is read, and what an alias repeats."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._n_values
        anchor = event.anchor or ""
        if isinstance(event, yaml.ScalarEvent) and not _is_unicode(event.value):
            self._refuse("found half of a character (a surrogate)", event)
        if isinstance(event, yaml.AliasEvent):
            size = self._sizes.get(anchor, 1)
            if size is None:
                self._refuse(f"the alias '*{anchor}' stands inside of what it names", event)
            self._n_values += size
        else:
            self._n_values += 1
            self._sizes |= {anchor: None} if anchor else {}
        self._depth += 1
        if self._n_values > MOST_VALUES:
            self._refuse(f"expected at most {MOST_VALUES} keys and values, found more", event)
        if self._depth > DEEPEST:
            self._refuse(f"expected at most {DEEPEST} levels of lists and mappings", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if self._sizes.get(anchor, 0) is None:
            self._sizes[anchor] = self._n_values - before
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Say which value does not fit its tag."""
        try:
            value = super().construct_object(node, deep)
        except _UNREADABLE:
            kind = node.tag.rpartition(":")[2]
            self._refuse(f"{_shown(node)} is no {kind}", node)
        if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            self._refuse(f"{_shown(node)} is too large a number", node)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Reject duplicate keys."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self._refuse(f"the key {_shown(key)} appears twice", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def _refuse(self, problem: str, where: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(node: yaml.Node) -> str:
    """Return the text of a node, shortened."""
    if not isinstance(node, yaml.ScalarNode):
        return "this list or mapping"
    return f"'{node.value}'" if len(node.value) <= 40 else f"'{node.value[:37]}...'"
