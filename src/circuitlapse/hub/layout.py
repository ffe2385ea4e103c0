"""Which files of a snapshot are needed, and how they become a folder that can be loaded."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors.torch import save_file
from torch import Tensor

from circuitlapse.errors import HubError, ModelError
from circuitlapse.models.snapshot import CONFIG, INDEX_SUFFIX, WEIGHTS, shards_of

TOKENIZER = "tokenizer.json"
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
TORCH_WEIGHTS = "pytorch_model.bin"
WEIGHT_CHOICES = (
    WEIGHTS,
    f"{WEIGHTS}{INDEX_SUFFIX}",
    TORCH_WEIGHTS,
    f"{TORCH_WEIGHTS}{INDEX_SUFFIX}",
)
"""Files that weights may be in; the first one that exists is used."""

BUFFERS = re.compile(r"(^|\.)(attention|attn)\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$")
"""Causal masks and rotary frequencies in old GPT-NeoX and GPT-2 files.

They follow from the configuration; transformers ignores them.
"""


@runtime_checkable
class Source(Protocol):
    """A place with the files of one snapshot."""

    @property
    def label(self) -> str:
        """Name of the source in messages."""

    @property
    def remedy(self) -> str:
        """Advice when a file is missing."""

    @property
    def names(self) -> Collection[str]:
        """The files of the snapshot."""

    @property
    def origin(self) -> Mapping[str, str]:
        """What identifies the source in a result; never a secret."""

    def put(self, name: str, target: Path) -> None:
        """Make `target` the file `name`, or a link to it, and check its hash."""


@dataclass(frozen=True)
class Completed:
    """A snapshot without a tokenizer, completed by that of another revision of the model."""

    source: Source
    other: Source

    @property
    def label(self) -> str:
        """Name of the snapshot in messages."""
        return self.source.label

    @property
    def remedy(self) -> str:
        """Advice when a file is missing."""
        return self.source.remedy

    @property
    def names(self) -> Collection[str]:
        """The files of the snapshot, and those of the tokenizer."""
        return {*self.source.names} | {*self.other.names} & {TOKENIZER, *OPTIONAL}

    @property
    def origin(self) -> Mapping[str, str]:
        """What identifies both in a result."""
        return {**self.source.origin, "tokenizer_revision": self.other.origin["revision"]}

    def put(self, name: str, target: Path) -> None:
        """Make `target` the file `name`, or a link to it, and check its hash."""
        (self.source if name in self.source.names else self.other).put(name, target)


def fill_folder(source: Source, folder: Path, weights_in: str = "") -> None:
    """Fill an empty folder with the configuration, tokenizer and weights in safetensors.

    Args:
        source: of the files.
        folder: that is filled.
        weights_in: a file with weights, if not the preferred format is to be taken but this one.

    Raises:
        HubError: if `source` lacks a file that is needed.
    """
    require_files(source, (CONFIG, TOKENIZER))
    choices = [_entry_of(weights_in)] if weights_in else WEIGHT_CHOICES
    weights = next((name for name in choices if name in source.names), None)
    if weights is None:
        raise _missing(source, " and no ".join(choices))
    for name in (CONFIG, TOKENIZER, *OPTIONAL):
        if name in source.names:
            source.put(name, folder / name)
    shards = [weights]
    if weights.endswith(INDEX_SUFFIX):
        source.put(weights, folder / weights)
        shards = _shards(source, folder / weights)
    require_files(source, shards)
    if weights.startswith(TORCH_WEIGHTS):
        _put_converted(source, shards, folder, index=folder / weights)
        return
    for name in shards:
        source.put(name, folder / name)


def _entry_of(weights: str) -> str:
    """Return the file that is read first: the weights, or the index of a shard."""
    if weights in WEIGHT_CHOICES:
        return weights
    whole = WEIGHTS if weights.endswith(".safetensors") else TORCH_WEIGHTS
    return f"{whole}{INDEX_SUFFIX}"


def require_files(source: Source, names: Iterable[str]) -> None:
    """Raise a HubError for the first of `names` that `source` lacks."""
    for name in names:
        if name not in source.names:
            raise _missing(source, name)


def _missing(source: Source, name: str) -> HubError:
    return HubError(f"{source.label}: no {name}; {source.remedy}")


def _shards(source: Source, index: Path) -> list[str]:
    try:
        return shards_of(index)
    except ModelError as error:
        raise HubError(f"{source.label}: {error}") from None


def _put_converted(source: Source, shards: Collection[str], folder: Path, *, index: Path) -> None:
    """Convert one shard after the other, so that at most one is on disk in both formats."""
    sizes: dict[str, dict[str, int]] = {}
    for name in shards:
        made = name.replace("pytorch_model", "model", 1).removesuffix(".bin") + ".safetensors"
        source.put(name, folder / name)
        sizes[made] = to_safetensors(folder / name, folder / made, label=source.label)
        (folder / name).unlink()
    if index.name.endswith(INDEX_SUFFIX):
        write_index(folder / f"{WEIGHTS}{INDEX_SUFFIX}", sizes)
        index.unlink()


def write_index(path: Path, sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Write which file has which weight; `sizes` are in bytes, by file and weight."""
    weight_map = {name: file for file, weights in sizes.items() for name in weights}
    total = sum(size for weights in sizes.values() for size in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    path.write_text(f"{json.dumps(index, indent=2)}\n", encoding="utf-8")


def to_safetensors(source: Path, target: Path, *, label: str) -> dict[str, int]:
    """Convert one weight file of the model `label`; return the bytes of its weights, by name.

    The same file always gives the same bytes. No code in the file is run.

    Raises:
        HubError: if the file is broken, or holds anything but weights.
    """
    weights = unshared(_load(source, label))
    save_file(weights, target, metadata={"format": "pt"})
    return {name: tensor.nbytes for name, tensor in weights.items()}


def _load(source: Path, label: str) -> dict[str, Tensor]:
    try:
        # old files are not zip archives, and torch can map only those into memory
        found = torch.load(
            source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source)
        )
    # an untrusted file can make the reader raise any exception
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise HubError(
            f"{label}: {source.name}: expected weights only, but the file is broken or holds other "
            f"objects ({why}); use a revision with safetensors"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise HubError(
            f"{label}: {source.name}: expected a mapping of names to weights, "
            f"found other objects ({type(found).__name__})"
        )
    return {name: weight for name, weight in found.items() if not BUFFERS.search(name)}


def unshared(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights sorted by name, with no two of them in the same memory.

    safetensors cannot store one weight under two names, so tied weights are copied. Dropping one
    of them would be wrong for a model whose configuration does not tie them.
    """
    seen: set[int] = set()
    separate = {}
    for name, weight in sorted(weights.items()):
        memory = weight.untyped_storage().data_ptr()
        separate[name] = (weight.clone() if memory in seen else weight).contiguous()
        seen.add(memory)
    return separate
