"""The file that set a key: read the files again, because Snakemake hands over merged values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from circuitlapse.config.yaml_text import parsed, read_yaml, refuse_unusable
from circuitlapse.errors import ConfigError, has_control
from circuitlapse.settings.base import KeyPath

_ABSENT = object()


@dataclass(frozen=True)
class Source:
    """One file of the configuration."""

    name: str
    values: dict[Any, Any]
    mistake: str = ""


def read_sources(files: Sequence[Path]) -> list[Source]:
    """Read the files; of a file that is given twice, the last position counts."""
    last_first = dict.fromkeys(_short(file) for file in reversed(files))
    return [_read(name) for name in reversed(last_first)]


def _read(name: str) -> Source:
    """Read one file; if it cannot be used, return no values and the reason."""
    try:
        values = read_yaml(name)
    except ConfigError as error:
        return Source(name, {}, f"{name}: {error}.")
    if not isinstance(values, dict | None):
        return Source(name, {}, f"{name}: must be a mapping of keys, such as 'results: results'.")
    return Source(name, values or {})


def _short(file: Path) -> str:
    with suppress(ValueError):
        return str(file.absolute().relative_to(Path.cwd()))
    return str(file)


def merged_values(sources: Iterable[Source]) -> dict[Any, Any]:
    """Merge the files: mappings are merged, any other value is replaced by the later one."""
    together: dict[Any, Any] = reduce(_merged, (source.values for source in sources), {})
    return together


def command_line(merged: Mapping[Any, Any], sources: Iterable[Source]) -> Source:
    """Return what `--config` set: whatever the files do not say.

    Nested values are read as YAML, because Snakemake leaves them as text.
    """
    for key, value in merged.items():
        try:
            refuse_unusable(value)
        except ConfigError as error:
            return Source("--config", {}, f"--config: {key} {error}.")
    return Source("--config", _difference(merged, merged_values(sources)))


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below.get(key), value) for key, value in above.items()}
    return above


def _difference(merged: Mapping[Any, Any], in_files: Mapping[Any, Any]) -> dict[Any, Any]:
    found = {}
    for key, value in merged.items():
        below = in_files.get(key, _ABSENT)
        if isinstance(value, dict) and isinstance(below, dict):
            if inner := _difference(value, below):
                found[key] = inner
        elif value != below and repr(value) != repr(below):  # nan is not equal to itself
            found[key] = _typed(value)
    return found


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    with suppress(ConfigError):
        return parsed(value) if isinstance(value, str) and not has_control(value) else value
    return value


def place(where: KeyPath, sources: Sequence[Source]) -> tuple[int, tuple[int, ...]]:
    """Return which source set a key, as its position in `sources`, and the position in it.

    Lists are replaced as a whole, so the source of a list is the source of its entries. The
    source of a missing key is that of the mapping that should contain it; `--config` is never
    the source of a missing section.
    """
    lists = [index for index, step in enumerate(where) if isinstance(step, int)]
    owner = where[: lists[0]] if lists else where
    while not (ranks := [rank for rank, one in enumerate(sources) if _has(one.values, owner)]):
        owner = owner[:-1]
    rank = ranks[-1] if owner else max(ranks[-1] - 1, 0)
    return rank, tuple(_positions(where, sources[rank].values))


def _has(tree: Any, where: KeyPath) -> bool:
    for step in where:
        if not isinstance(tree, dict) or step not in tree:
            return False
        tree = tree[step]
    return True


def _positions(where: KeyPath, tree: Any) -> Iterator[int]:
    """Yield the index of a key at each level; a missing key comes after the last one."""
    for step in where:
        n_entries = len(tree) if isinstance(tree, list) else 0
        known = list(tree if isinstance(tree, dict) else range(n_entries))
        if step not in known:
            yield len(known)
            return
        yield known.index(step)
        tree = tree[step]
