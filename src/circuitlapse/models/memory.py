"""Memory of a GPU: the share of a process, and what to say when it is not enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from circuitlapse.errors import OUT_OF_MEMORY, DeviceMemoryError

CUDA_BYTES = 800e6
"""GPU memory that CUDA itself takes in each process, where PyTorch cannot put anything."""


_SIZE = r"([0-9.]+) (B|bytes|KiB|MiB|GiB)"
_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def share_of_gpu(device: torch.device, jobs_per_gpu: int) -> float:
    """Return the bytes of a GPU that PyTorch may allocate in each of the processes that share it.

    They depend on the size of the GPU alone, not on what other processes hold at the moment.
    """
    _, total = torch.cuda.mem_get_info(device)
    return max(0.0, total / jobs_per_gpu - CUDA_BYTES)


def keep_to_share(device: str, jobs_per_gpu: int) -> None:
    """Make PyTorch run out of memory at the share of this process, which leaves others theirs.

    Without a GPU nothing happens; who loads a model onto one says that there is none.
    """
    if device == "cuda" and jobs_per_gpu > 1 and torch.cuda.is_available():
        gpu = torch.device(device)
        _, total = torch.cuda.mem_get_info(gpu)
        # Of the current GPU: PyTorch takes no device without a number here.
        torch.cuda.set_per_process_memory_fraction(share_of_gpu(gpu, jobs_per_gpu) / total)


def free_on_gpu(device: torch.device) -> int:
    """Return the bytes that PyTorch can still allocate, those in its own cache included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether the GPU, or the allocator of the CPU, ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in OUT_OF_MEMORY
    )


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Say what was too large if memory runs out in the block.

    Raises:
        DeviceMemoryError: if it does.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(no_memory_for(what, error)) from error


def no_memory_for(what: str, error: RuntimeError) -> str:
    """Return a sentence: what was too large, how much memory is missing, and what to do.

    Args:
        what: what was too large.
        error: of PyTorch, whose text has the sizes: what was asked for, what is free on the GPU,
            and what a process with a share may have and has.
    """
    asked = _bytes_in(error, f"ried to allocate {_SIZE}")
    free = _bytes_in(error, f"of which {_SIZE} is free")
    allowed = _bytes_in(error, f"{_SIZE} allowed")
    if allowed is not None and free is not None:
        held = [_bytes_in(error, f"{_SIZE} is {how} by") for how in ("allocated", "reserved")]
        free = max(0.0, min(free, allowed - sum(size or 0 for size in held)))
    sizes = "" if asked is None else f": {_gb(asked)} are needed in one piece"
    if asked is not None and free is not None:
        sizes += f", {_gb(free)} are free"
        sizes += f", {_gb(asked - free)} are missing" if asked > free else ", but in pieces"
    return (
        f"no memory for {what}{sizes}; take a device with more memory, or fewer jobs on each GPU "
        "(compute.jobs_per_gpu)"
    )


def _bytes_in(error: RuntimeError, pattern: str) -> float | None:
    found = re.search(pattern, str(error))
    return float(found[1]) * _UNITS[found[2]] if found else None


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
