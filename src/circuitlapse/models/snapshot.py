"""Model folders laid out like a hub snapshot: which files are the model, and quiet loading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuitlapse.errors import ModelError, read_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX_SUFFIX = ".index.json"
SUFFIXES = (".safetensors", ".bin")
"""Endings of files with weights."""


def weight_files(folder: str | Path) -> list[str]:
    """Return the names of the files with weights: one, or an index and the shards that it names.

    Without weights, returns the name of the missing file. Shards are not checked.

    Raises:
        ModelError: if the index cannot be read; see `shards_of`.
    """
    index = Path(folder) / f"{WEIGHTS}{INDEX_SUFFIX}"
    if (Path(folder) / WEIGHTS).is_file() or not index.is_file():
        return [WEIGHTS]
    return [index.name, *shards_of(index)]


def shards_of(index: Path) -> list[str]:
    """Return the files that an index of sharded weights names, in order.

    Raises:
        ModelError: if it is no such index, or names a file outside of its own folder.
    """
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        wrong = [name for name in names if Path(name).name != name or not name.endswith(SUFFIXES)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index}: not an index of sharded weights; expected JSON with a mapping weight_map "
            "from weights to files"
        ) from error
    if wrong or not names:
        found = f"{wrong[0]!r}" if wrong else "none"
        raise ModelError(
            f"{index}: weight_map must name files beside the index that end in "
            f"{' or '.join(SUFFIXES)}, found {found}"
        )
    return names


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Hide the progress bars of transformers inside the block, then restore its setting."""
    from transformers.utils import logging as bars

    were_on = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            bars.enable_progress_bar()
