"""Read a decoder from a model folder, and refuse whatever would be read wrongly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from circuitlapse.errors import (
    NOTHING,
    REMAKE,
    ModelError,
    no_file,
    read_json,
    reading,
    unknown_name,
)
from circuitlapse.models.decoder import Decoder, DecoderConfig, n_ids
from circuitlapse.models.families.base import Built, ConfigFile, Family, Weights
from circuitlapse.models.families.registry import FAMILIES
from circuitlapse.models.graph import Graph, Head
from circuitlapse.models.snapshot import CONFIG, INDEX_SUFFIX, weight_files

REMEDY = f"if the workflow made this folder, {REMAKE}"
TOKENIZER = "tokenizer.json"
KIND = "safetensors file"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
STORED = ("F64", "F32", "F16", "BF16")
"""Number formats of weights in safetensors files that can be read."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""The start of the text that Git leaves in place of a large file that was not downloaded."""
NAMED = 3
"""Weights that a message names; it counts the others."""


def load_decoder(path: str | Path, device: str = "cpu", dtype: str = "float32") -> Decoder:
    """Load a folder laid out like a hub snapshot, with raw weights.

    Nothing is folded or centred, so the logits are those of the Hugging Face model, and no
    weight asks for a gradient. Nothing is downloaded and no code from the folder is run.

    Args:
        path: folder with `config.json` and `model.safetensors`, or with
            `model.safetensors.index.json` and the files that it names.
        device: `cpu`, `cuda` or one GPU, such as `cuda:0`.
        dtype: `float32`, `bfloat16` or `float64`.

    Raises:
        ModelError: if the folder is not there, lacks a file or holds a broken one, the device is
            not there, the architecture is not in `FAMILIES`, the configuration asks for what the
            decoder does not do, or a weight is missing, unexpected or of another shape; the
            message says which.
    """
    refuse_device_or_dtype(device, dtype)
    with open_folder(path) as found:
        target = torch.device(device)

        def placed(name: str) -> Tensor:
            weight = found.read(name).to(device=target, dtype=DTYPES[dtype])
            refuse_infinite(weight, name, path)
            return weight

        built = found.family.build(found.config, Weights(found.shapes, target, placed))
    return decoder_of(built, found, dtype=DTYPES[dtype], device=target)


def refuse_infinite(weight: Tensor, name: str, path: str | Path) -> None:
    """Raise a ModelError if a weight of the model in a folder holds NaN or infinity."""
    if weight.is_floating_point() and not weight.isfinite().all():
        raise ModelError(
            f"{path}: {name} holds NaN or infinity, expected finite numbers; training may have "
            "diverged, or the file is damaged"
        )


@dataclass(frozen=True)
class Opened:
    """A model whose configuration and names of weights have been checked.

    Attributes:
        name: of the model in messages.
        family: of the model.
        config: its configuration.
        shapes: shape of every weight.
        read: returns a weight.
        tokenizer: of the model, if it has one.
    """

    name: str
    family: Family
    config: ConfigFile
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    tokenizer: Tokenizer | None


@contextmanager
def open_folder(path: str | Path) -> Iterator[Opened]:
    """Open a model folder and check everything but the values of the weights.

    Raises:
        ModelError: see `load_decoder`.
    """
    folder = Path(path)
    _refuse_incomplete(folder)
    config = ConfigFile(_read_json(folder / CONFIG), str(folder / CONFIG))
    family, tokenizer = family_of(config), _read_tokenizer(folder / TOKENIZER)
    with _open_weights(folder) as (shapes, refuse_format, read):
        empty = Weights(shapes, torch.device("meta"))
        with reading(folder / CONFIG, "configuration of a model", raised=ModelError, advice=REMEDY):
            sizes = family.build(config, empty).sizes
        _refuse_mismatch(empty, family, str(folder / weight_files(folder)[0]))
        for name in empty.taken:
            refuse_format(name)
        _refuse_unknown_tokens(tokenizer, sizes["d_vocab"], folder)
        yield Opened(str(path), family, config, shapes, read, tokenizer)


def family_of(config: ConfigFile) -> Family:
    """Return the family of a configuration that asks for nothing that it does not do.

    Raises:
        ModelError: if there is none, or the configuration asks for more.
    """
    found = next((name for name in config.names("architectures") if name in FAMILIES), None)
    if found is None:
        config.wrong("architectures", f"one of {', '.join(FAMILIES)}")
    config.refuse()
    return FAMILIES[found]


def decoder_of(built: Built, found: Opened, *, dtype: torch.dtype, device: torch.device) -> Decoder:
    """Return the decoder of what a family has built."""
    sizes = {"window": None} | built.sizes
    cfg = DecoderConfig(found.family.architecture, found.name, **sizes, dtype=dtype, device=device)
    return Decoder(cfg, found.tokenizer, **built.parts)


def _refuse_mismatch(found: Weights, family: Family, files: str) -> None:
    """Raise a ModelError if weights are missing, wrongly shaped, or left over."""
    extra = [
        f"{name} {list(found.shapes[name])}"
        for name in found.shapes
        if name not in found.taken and not re.search(family.ignored, name)
    ]
    for kind, names in (
        ("has no weight", found.missing),
        ("has a weight of another shape:", found.misshapen),
        (f"has a weight that {family.architecture} does not have:", extra),
    ):
        if names:
            more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise ModelError(
                f"{files} {kind} {', '.join(names[:NAMED])}{more}; expected the weights that "
                f"{CONFIG} beside it describes"
            )


def _refuse_incomplete(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: there is no such folder; expected one laid out like a hub snapshot "
            f"(a relative path starts in {Path.cwd()}); names on a hub are not fetched"
        )
    for name in (CONFIG, *weight_files(folder)):
        if (found := no_file(folder / name)) == NOTHING:
            raise ModelError(
                f"{folder}: no {name}; expected a local folder laid out like a hub snapshot; "
                f"{REMEDY}"
            )
        if found:
            raise ModelError(f"{folder / name}: expected a file, found {found}; {REMEDY}")


def refuse_device_or_dtype(device: str, dtype: str) -> None:
    """Raise a ModelError if the device is not on this machine, or the dtype is unknown."""
    if dtype not in DTYPES:
        raise ModelError(unknown_name("dtype", dtype, DTYPES))
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= found:
        gpus = {0: "no CUDA GPU", 1: "one CUDA GPU, cuda:0"}.get(
            found, f"{found} CUDA GPUs, up to cuda:{found - 1}"
        )
        raise ModelError(
            f"compute.device is {device}, but PyTorch finds {gpus} on this machine; "
            f"set compute.device to {'one of them' if found else 'cpu'}, "
            "or run where there is such a GPU"
        )


def _read_json(path: Path) -> dict[str, Any]:
    _refuse_pointer(path)
    with reading(path, "JSON file", raised=ModelError, advice=REMEDY):
        values = read_json(path)
    if not isinstance(values, dict):
        raise ModelError(f"{path}: holds a {type(values).__name__}, expected a mapping; {REMEDY}")
    return values


def _read_tokenizer(path: Path) -> Tokenizer | None:
    if no_file(path) == NOTHING:
        return None
    _refuse_pointer(path)
    with reading(path, "tokenizer", raised=ModelError, advice=REMEDY):
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        tokenizer.encode("a", add_special_tokens=False)  # what it lacks shows only then
    return tokenizer


def _refuse_pointer(path: Path) -> None:
    if no_file(path):
        return
    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ModelError(
                f"{path}: a Git LFS pointer, expected the file that it stands for; "
                f"run `git lfs pull` in {path.parent}"
            )


@contextmanager
def _open_weights(
    folder: Path,
) -> Iterator[tuple[Mapping[str, tuple[int, ...]], Callable[[str], None], Callable[[str], Tensor]]]:
    """Open all files with weights; give their shapes, what checks a format and what reads one."""
    names = [name for name in weight_files(folder) if not name.endswith(INDEX_SUFFIX)]
    with ExitStack() as stack:
        homes: dict[str, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for name in names:
            file = stack.enter_context(_safetensors(folder / name))
            with reading(folder / name, KIND, raised=ModelError, advice=REMEDY):
                for weight in file.keys():  # noqa: SIM118 - it is no mapping
                    homes[weight] = (folder / name, file)
                    shapes[weight] = tuple(file.get_slice(weight).get_shape())

        def refuse_format(weight: str) -> None:
            path, file = homes[weight]
            if (stored := file.get_slice(weight).get_dtype()) not in STORED:
                raise ModelError(
                    f"{path}: {weight} is stored as {stored}, expected one of "
                    f"{', '.join(STORED)}; quantised weights are not supported"
                )

        def read(weight: str) -> Tensor:
            path, file = homes[weight]
            with reading(path, KIND, raised=ModelError, advice=REMEDY):
                return cast(Tensor, file.get_tensor(weight))

        yield shapes, refuse_format, read


def _safetensors(path: Path) -> Any:
    _refuse_pointer(path)
    with reading(path, KIND, raised=ModelError, advice=REMEDY):
        return safe_open(path, framework="pt")


def _refuse_unknown_tokens(tokenizer: Tokenizer | None, d_vocab: int, folder: Path) -> None:
    known = n_ids(tokenizer) if tokenizer else 0
    if known > d_vocab:
        raise ModelError(
            f"{folder / TOKENIZER} has tokens up to {known - 1}, but vocab_size in {CONFIG} is "
            f"{d_vocab}; expected the tokenizer of this model"
        )


def model_graph(model: Decoder) -> Graph:
    """Return the edge graph of a model."""
    cfg = model.cfg
    return Graph(cfg.n_layers, cfg.n_heads, parallel=bool(cfg.parallel_attn_mlp))


def all_heads(model: Decoder) -> list[Head]:
    """Return every head, in order."""
    return [(at, head) for at in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]


def tokenizer_of(model: Decoder) -> Tokenizer:
    """Return the tokenizer of a model.

    Raises:
        ModelError: if its folder has none.
    """
    if model.tokenizer is None:
        raise ModelError(
            f"{model.cfg.model_name}: no {TOKENIZER}, expected one in the folder of the model"
        )
    return model.tokenizer


def n_parameters(model: Decoder) -> int:
    """Return the number of weights, embeddings included; a tied one counts once."""
    return sum(weight.numel() for weight in model.weights())
