"""How many prompts go through a model at once, and what happens when that was too many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch

Result = TypeVar("Result")

CPU_MB = 500
"""Memory for activations on a CPU, where nobody said how much there is."""
GPU_SHARE = 0.7
"""Share of a GPU's free memory that is planned for; the rest is for what is not counted."""

_log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How many prompts go through at once: a number, or what fits in some memory.

    Attributes:
        batch_size: prompts per pass; None takes as many as fit in `memory_mb`.
        memory_mb: for what a pass holds; None takes most of the free memory of a GPU, 500 MB on
            a CPU.
    """

    batch_size: int | None = None
    memory_mb: int | None = None

    def prompts(self, bytes_per_prompt: int, *, device: torch.device | str) -> int:
        """Return how many prompts of so many bytes go through at once, at least one."""
        if self.batch_size is not None:
            return self.batch_size
        if self.memory_mb is not None:
            budget = self.memory_mb * 1e6
        elif torch.device(device).type == "cuda":
            budget = GPU_SHARE * torch.cuda.mem_get_info(device)[0]
        else:
            budget = CPU_MB * 1e6
        return max(1, int(budget // bytes_per_prompt))


def in_batches(
    n_prompts: int, *, size: int, work: Callable[[slice], Result], what: str
) -> list[Result]:
    """Return the results of `work` on consecutive batches of at most `size` prompts.

    When the device runs out of memory, the batch is halved and tried again.

    Raises:
        torch.OutOfMemoryError: if a single prompt does not fit.
    """
    results: list[Result] = []
    start = 0
    while start < n_prompts:
        batch = slice(start, min(start + size, n_prompts))
        try:
            results.append(work(batch))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error) or batch.stop - batch.start == 1:
                raise
            size = (batch.stop - batch.start) // 2
        else:
            start = batch.stop
            continue
        _log.warning("%s: out of memory; %d prompts at once from here on", what, size)
        torch.cuda.empty_cache()
    return results


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device, or the allocator of the CPU, had too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
