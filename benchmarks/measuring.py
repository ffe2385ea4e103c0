"""What the benchmarks share: random models, number formats, clocks and memory."""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Olmo2Config,
    OlmoConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from circuitlapse.models.snapshot import no_progress_bars

Row = dict[str, Any]

DTYPES: Mapping[str, tuple[str, str]] = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "high"),
    "bfloat16": ("bfloat16", "highest"),
}
"""Format of the weights, and PyTorch's precision of float32 matrix products."""

ENOUGH_S, MOST_ROUNDS = 1.5, 5
"""Work is repeated until it took `ENOUGH_S` seconds, but at most so many times."""


def _sizes(layers: int, heads: int, d_model: int, vocab: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": d_model,
        "intermediate_size": 4 * d_model,
        "vocab_size": vocab,
    }


_SMALL = _sizes(6, 8, 512, 8192)
_SMALL_GPT2 = {"n_layer": 6, "n_head": 8, "n_embd": 512, "vocab_size": 8192}
_GROUPED = _SMALL | {"num_key_value_heads": 2}

PYTHIA: Mapping[str, Callable[[], PretrainedConfig]] = {
    "pocket": partial(GPTNeoXConfig, **_sizes(4, 6, 192, 600)),
    "70m": partial(GPTNeoXConfig, **_sizes(6, 8, 512, 50304)),
    "160m": partial(GPTNeoXConfig, **_sizes(12, 12, 768, 50304)),
    "410m": partial(GPTNeoXConfig, **_sizes(24, 16, 1024, 50304)),
    "1.4b": partial(GPTNeoXConfig, **_sizes(24, 16, 2048, 50304)),
    "2.8b": partial(GPTNeoXConfig, **_sizes(32, 32, 2560, 50304)),
}
FAMILIES: Mapping[str, Callable[[], PretrainedConfig]] = {
    "gpt_neox": partial(GPTNeoXConfig, **_SMALL),
    "gpt2": partial(GPT2Config, **_SMALL_GPT2),
    "llama": partial(LlamaConfig, **_GROUPED),
    "olmo": partial(OlmoConfig, **_SMALL),
    "olmo2": partial(Olmo2Config, **_SMALL),
    "qwen2": partial(Qwen2Config, **_GROUPED),
    "qwen3": partial(Qwen3Config, **_GROUPED, head_dim=64),
}
SHAPES = PYTHIA | FAMILIES
"""Configurations of random models: the shapes of Pythia, and every family in one small shape."""


def random_model(shape: str, folder: str | Path, *, device: str) -> PreTrainedModel:
    """Make a model with random weights; save it in half precision, as on a hub.

    Returns:
        The saved model in float32, in eval mode, with frozen weights.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(SHAPES[shape]())
    with no_progress_bars():
        model.half().save_pretrained(folder)
    return model.float().eval().requires_grad_(False)


@contextmanager
def matmul_precision(dtype: str) -> Iterator[None]:
    """Compute matrix products as one of `DTYPES` says, until the block ends."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(DTYPES[dtype][1])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def elapsed(work: Callable[[], Any], device: str) -> float:
    """Return how long one run takes, in seconds."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def seconds(*works: Callable[[], Any], device: str) -> list[float]:
    """Return the fastest run of each, run in turn; short work is run more often.

    The first round counts only if it takes so long that warming up does not matter.
    """
    rounds = [[elapsed(work, device) for work in works]]
    if sum(rounds[0]) < ENOUGH_S:
        rounds = []
    while len(rounds) < MOST_ROUNDS and sum(map(sum, rounds)) < ENOUGH_S:
        rounds.append([elapsed(work, device) for work in works])
    return [min(of_one) for of_one in zip(*rounds, strict=True)]


def weights_gb(model: torch.nn.Module) -> float:
    """Return the size of all weights of a module."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e9


def process_gb() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes on Linux


def machine(device: str) -> str:
    """Return what the numbers depend on."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    packages = ("torch", "transformers")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    threads = f"{torch.get_num_threads()} threads"
    python = f"Python {platform.python_version()}"
    return f"{name} ({platform.machine()}, {threads}); {python}, {versions}"


def show(rows: list[Row], *, markdown: bool) -> None:
    """Print a table."""
    table = pd.DataFrame(rows)
    print(table.to_markdown(index=False) if markdown else table.to_string(index=False))


def keep(row: Row, file: Path | None) -> None:
    """Append a row to a file of JSON lines, so that it survives an interrupted run."""
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
