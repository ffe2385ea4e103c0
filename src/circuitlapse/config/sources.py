"""The file that set a key: read the files again, because Snakemake hands over merged values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from circuitlapse.settings.base import KeyPath

COMMAND_LINE = "--config"
_ABSENT = object()


@dataclass(frozen=True)
class Source:
    """One file of the configuration."""

    name: str
    values: dict[str, Any]
    mistake: str = ""


class _Loader(yaml.SafeLoader):
    """SafeLoader that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"the key '{key.value}' appears twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_sources(files: Sequence[Path]) -> list[Source]:
    """Read the files; of a file that is given twice, the last position counts."""
    last_first = dict.fromkeys(_short(file) for file in reversed(files))
    return [_read(name) for name in reversed(last_first)]


def _read(name: str) -> Source:
    """Read one file; if it cannot be used, return no values and the reason."""
    try:
        values = yaml.load(Path(name).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        return Source(name, {}, f"{name}: cannot be read: {error.strerror}.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}," if mark else "it"
        return Source(name, {}, f"{name}: {where} is not valid YAML: {error.problem}.")
    except (yaml.YAMLError, UnicodeError):
        return Source(name, {}, f"{name}: is not UTF-8 text.")
    if not isinstance(values, dict | None):
        return Source(name, {}, f"{name}: must be a mapping of keys, such as 'results: results'.")
    return Source(name, values or {})


def _short(file: Path) -> str:
    with suppress(ValueError):
        return str(file.absolute().relative_to(Path.cwd()))
    return str(file)


def merged_values(sources: Iterable[Source]) -> dict[str, Any]:
    """Merge the files: mappings are merged, any other value is replaced by the later one."""
    together: dict[str, Any] = reduce(_merged, (source.values for source in sources), {})
    return together


def with_types(merged: Mapping[str, Any], sources: Iterable[Source]) -> dict[str, Any]:
    """Read values from `--config` as YAML: Snakemake leaves nested values as text."""
    in_files = merged_values(sources)
    return {name: _typed(value, in_files.get(name)) for name, value in merged.items()}


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below.get(key), value) for key, value in above.items()}
    return above


def _typed(value: Any, in_files: Any) -> Any:
    if isinstance(value, dict):
        known = in_files if isinstance(in_files, dict) else {}
        return {key: _typed(item, known.get(key)) for key, item in value.items()}
    if value == in_files or not isinstance(value, str | list):
        return value
    if isinstance(value, list):
        return [_typed(item, None) for item in value]
    with suppress(yaml.YAMLError):
        return yaml.safe_load(value)
    return value


@dataclass(frozen=True, order=True)
class Place:
    """The source that set a key (one past the last for `--config`), and the position in it."""

    rank: int
    position: tuple[int, ...]


def place(where: KeyPath, *, merged: dict[str, Any], sources: Sequence[Source]) -> Place:
    """Return the source that set a key, and the position in it."""
    rank = _rank(where, merged, sources)
    tree = sources[rank].values if rank < len(sources) else merged
    return Place(rank, tuple(_position(where, tree)))


def _rank(where: KeyPath, merged: dict[str, Any], sources: Sequence[Source]) -> int:
    """Return the last source that set a key.

    Lists are replaced as a whole, so the source of a list is the source of its entries. The
    source of a missing key is that of the mapping that should contain it.
    """
    lists = [index for index, step in enumerate(where) if isinstance(step, int)]
    owner = where[: lists[0]] if lists else where
    while _at(owner, merged) is _ABSENT:
        owner = owner[:-1]
    value = _at(owner, merged)
    for rank in reversed(range(len(sources))):
        here = _at(owner, sources[rank].values)
        if here is not _ABSENT:
            both_mappings = isinstance(here, dict) and isinstance(value, dict)
            return rank if both_mappings or _same(here, value) else len(sources)
    return len(sources)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or repr(one) == repr(other)  # nan is not equal to itself


def _at(where: KeyPath, tree: Any) -> Any:
    for step in where:
        if not isinstance(tree, dict) or step not in tree:
            return _ABSENT
        tree = tree[step]
    return tree


def _position(where: KeyPath, tree: Any) -> list[int]:
    """Return the index of a key at each level; a missing key comes after the last one."""
    position: list[int] = []
    for step in where:
        if isinstance(tree, dict) and step in tree:
            position.append(list(tree).index(step))
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            position.append(step)
        else:
            return [*position, len(tree) if isinstance(tree, dict | list) else 0]
        tree = tree[step]
    return position
