"""Which files of a snapshot are wanted, and how they become a folder that can be loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from circuitlapse.errors import HubError, ModelError
from circuitlapse.snapshots import CONFIG, INDEX_SUFFIX, WEIGHTS, shards_of

TOKENIZER = "tokenizer.json"
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
TORCH_WEIGHTS = "pytorch_model.bin"
WEIGHT_CHOICES = (
    WEIGHTS,
    f"{WEIGHTS}{INDEX_SUFFIX}",
    TORCH_WEIGHTS,
    f"{TORCH_WEIGHTS}{INDEX_SUFFIX}",
)
"""Where weights may be; the first that is there is taken."""


@runtime_checkable
class Source(Protocol):
    """Where the files of one snapshot come from."""

    @property
    def label(self) -> str:
        """What to call it in a message."""

    @property
    def remedy(self) -> str:
        """What to do when a file is missing."""

    @property
    def names(self) -> Collection[str]:
        """The files that it has."""

    @property
    def origin(self) -> Mapping[str, str]:
        """What identifies it in a result; never a secret."""

    def put(self, name: str, target: Path) -> None:
        """Make `target` the file called `name`, or a link to it, and check its hash."""


def assemble(source: Source, folder: Path) -> None:
    """Fill an empty folder with configuration, tokenizer and weights in safetensors.

    Raises:
        HubError: if `source` lacks a file that is needed.
    """
    weights = next((name for name in WEIGHT_CHOICES if name in source.names), None)
    refuse_missing(source, {name: name in source.names for name in (CONFIG, TOKENIZER)})
    refuse_missing(source, {" and no ".join(WEIGHT_CHOICES): weights is not None})
    assert weights is not None
    small = [name for name in OPTIONAL if name in source.names]
    for name in (CONFIG, TOKENIZER, *small):
        source.put(name, folder / name)
    is_index = weights.endswith(INDEX_SUFFIX)
    if is_index:
        source.put(weights, folder / weights)
    shards = _shards(source, folder / weights) if is_index else [weights]
    refuse_missing(source, {name: name in source.names for name in shards})
    if weights.startswith(TORCH_WEIGHTS):
        _put_converted(source, shards, folder, index=folder / weights if is_index else None)
        return
    for name in shards:
        source.put(name, folder / name)


def _shards(source: Source, index: Path) -> list[str]:
    try:
        return shards_of(index)
    except ModelError as error:
        raise HubError(f"{source.label}: {error}") from None


def refuse_missing(source: Source, there: Mapping[str, bool]) -> None:
    """Name the first file that `source` lacks, and what to do; HubError."""
    for name, is_there in there.items():
        if not is_there:
            raise HubError(f"{source.label}: no {name}; {source.remedy}")


def _put_converted(
    source: Source, shards: Collection[str], folder: Path, *, index: Path | None
) -> None:
    """Convert shard by shard, so that at most one of them is on the disk twice."""
    from circuitlapse.hub.convert import to_safetensors, write_index

    kept: dict[str, dict[str, int]] = {}
    for name in shards:
        made = name.replace("pytorch_model", "model", 1).removesuffix(".bin") + ".safetensors"
        source.put(name, folder / name)
        kept[made] = to_safetensors(folder / name, folder / made, label=source.label)
        (folder / name).unlink()
    if index is not None:
        write_index(folder / f"{WEIGHTS}{INDEX_SUFFIX}", kept)
        index.unlink()
