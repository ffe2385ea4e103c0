"""Which files of a snapshot are wanted, and how they become a folder that can be loaded."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors.torch import save_file
from torch import Tensor

from circuitlapse.errors import HubError, ModelError
from circuitlapse.models.snapshot import CONFIG, INDEX_SUFFIX, WEIGHTS, shards_of

BUFFERS = re.compile(r"(^|\.)(attention|attn)\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$")
"""Causal masks and rotary frequencies that old GPT-NeoX and GPT-2 files carry.

They follow from the configuration; transformers ignores them.
"""


def to_safetensors(source: Path, target: Path, *, label: str) -> dict[str, int]:
    """Convert one file of the model `label`; return the sizes of its weights in bytes, by name.

    The same file gives the same bytes. No code from the file is run.

    Raises:
        HubError: if the file holds anything but weights, or is broken.
    """
    weights = unshared(_load(source, label))
    save_file(weights, target, metadata={"format": "pt"})
    return {name: tensor.nbytes for name, tensor in weights.items()}


def _load(source: Path, label: str) -> dict[str, Tensor]:
    try:
        # old files are no archives and cannot be mapped into memory
        found = torch.load(
            source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source)
        )
    # a file that somebody else made can break the reader in any way
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise HubError(
            f"{label}: {source.name} is not loaded, as it is broken or more than weights ({why}); "
            "take a revision with safetensors, or other weights"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise HubError(f"{label}: {source.name} must hold weights by name, and nothing else")
    return {name: weight for name, weight in found.items() if not BUFFERS.search(name)}


def unshared(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights by name, in order, none of them sharing memory with another.

    safetensors cannot say that two names are one weight. Dropping one of them would be wrong for
    a model whose configuration does not tie them.
    """
    seen: set[int] = set()
    alone = {}
    for name, weight in sorted(weights.items()):
        memory = weight.untyped_storage().data_ptr()
        alone[name] = weight.clone() if memory in seen else weight
        alone[name] = alone[name].contiguous()
        seen.add(memory)
    return alone


def write_index(path: Path, kept: Mapping[str, Mapping[str, int]]) -> None:
    """Write which file has which weight; `kept` has their sizes in bytes, by file and name."""
    where = {name: file for file, sizes in kept.items() for name in sizes}
    total = sum(size for sizes in kept.values() for size in sizes.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    path.write_text(f"{json.dumps(index, indent=2)}\n", encoding="utf-8")


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
    pass

    kept: dict[str, dict[str, int]] = {}
    for name in shards:
        made = name.replace("pytorch_model", "model", 1).removesuffix(".bin") + ".safetensors"
        source.put(name, folder / name)
        kept[made] = to_safetensors(folder / name, folder / made, label=source.label)
        (folder / name).unlink()
    if index is not None:
        write_index(folder / f"{WEIGHTS}{INDEX_SUFFIX}", kept)
        index.unlink()
