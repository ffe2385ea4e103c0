"""Weights as PyTorch saved them, turned into safetensors."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from circuitlapse.errors import HubError

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
