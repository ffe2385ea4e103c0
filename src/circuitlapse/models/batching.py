"""How many prompts go through a model at once, and how to go on when memory runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from circuitlapse.errors import DeviceMemoryError
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.memory import free_on_gpu, is_out_of_memory, no_memory_for, share_of_gpu

Result = TypeVar("Result")

CPU_MB = 500
"""Memory for activations on a CPU, unless `memory_mb` is set."""
GPU_SHARE = 0.7
"""Share of what is left of a GPU that is used; the estimates below do not count everything."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How many prompts go through a model at once: a number, or as many as fit into memory.

    Attributes:
        batch_size: prompts per pass; None takes as many as fit in `memory_mb`.
        memory_mb: memory for what a pass holds, in MB; None takes most of what is left of a GPU,
            500 MB on a CPU.
        shared_by: processes that share a GPU. Each plans with an equal share of all its memory,
            less what it has allocated, such as weights. None plans with what is free.

    Raises:
        ValueError: if one of them is below 1.
    """

    batch_size: int | None = None
    memory_mb: int | None = None
    shared_by: int | None = None

    def __post_init__(self) -> None:
        """Check that a pass may hold at least one prompt."""
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")

    def prompts(self, bytes_per_prompt: int, *, device: torch.device | str) -> int:
        """Return how many prompts go through at once if each takes so many bytes, at least one."""
        if self.batch_size is not None:
            return self.batch_size
        return max(1, int(self._bytes(torch.device(device)) // bytes_per_prompt))

    def _bytes(self, device: torch.device) -> float:
        """Return the memory for what a pass holds."""
        asked = None if self.memory_mb is None else self.memory_mb * 1e6
        if device.type != "cuda":
            return CPU_MB * 1e6 if asked is None else asked
        if self.shared_by is None:
            return GPU_SHARE * free_on_gpu(device) if asked is None else asked
        left = share_of_gpu(device, self.shared_by) - torch.cuda.memory_allocated(device)
        return GPU_SHARE * left if asked is None else min(asked, left)


AUTOMATIC = Limits()
"""As many prompts at once as fit in the default amount of memory."""


def even_size(n_prompts: int, most: int) -> int:
    """Return the size of the largest batch if the fewest possible batches are nearly equal."""
    return math.ceil(n_prompts / math.ceil(n_prompts / most))


def in_batches(
    n_prompts: int, *, size: int, work: Callable[[slice], Result], what: str
) -> list[Result]:
    """Return the results of `work` on consecutive batches of at most `size` prompts.

    Batches are as equal as possible: a pass over a few prompts that are left over would take a GPU
    nearly as long as one over many. When the device runs out of memory, the batch is halved and
    tried again.

    Raises:
        DeviceMemoryError: if a single prompt does not fit; it says how much memory is missing.
    """
    return in_batches_of_runs(
        n_prompts, size=size, runs=1, work=lambda batch, _: work(batch), what=what
    )


def in_batches_of_runs(
    n_prompts: int, *, size: int, runs: int, work: Callable[[slice, int], Result], what: str
) -> list[Result]:
    """Return the results of `work` on consecutive batches, each prompt of which runs many times.

    When the device runs out of memory, the batch is halved and tried again; once it has a single
    prompt, the number of its runs at once is.

    Args:
        n_prompts: number of prompts.
        size: most prompts in a batch.
        runs: most runs of each prompt at once.
        work: does all runs of a batch, so many at once.
        what: what is done, for the log and the error.

    Raises:
        DeviceMemoryError: if a single run does not fit; it says how much memory is missing.
    """
    results: list[Result] = []
    start = 0
    while start < n_prompts:
        batch = slice(start, start + even_size(n_prompts - start, size))
        try:
            results.append(work(batch, runs))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if (alone := batch.stop - batch.start == 1) and runs == 1:
                raise DeviceMemoryError(f"{what}: {no_memory_for('one prompt', error)}") from error
            size, runs = (1, runs // 2) if alone else ((batch.stop - batch.start) // 2, runs)
        else:
            start = batch.stop
            continue
        # Outside of `except`: the traceback there keeps the tensors of the failed batch alive.
        now = f"{runs} runs of one prompt" if alone else f"{size} prompts"
        _log.warning("%s: out of memory; %s at once from here on", what, now)
        torch.cuda.empty_cache()
    return results


ROWS_OF_LOGITS = 6
"""Copies of the logits that a metric holds at once, such as probabilities and indicators."""


def bytes_per_number(model: Decoder, *, at_least: torch.dtype | None = None) -> int:
    """Return the size of a number of the model, or of a wider format that it is turned into."""
    return max(int(model.cfg.dtype.itemsize), at_least.itemsize if at_least else 0)


def bytes_of_logits(model: Decoder) -> int:
    """Return an estimate of what reading a metric off one prompt takes, in float32 or better."""
    per_number = bytes_per_number(model, at_least=torch.float32)
    return ROWS_OF_LOGITS * int(model.cfg.d_vocab) * per_number


def bytes_per_run(model: Decoder, *, n_pos: int) -> int:
    """Return an estimate of one forward and backward pass of one prompt of `n_pos` tokens."""
    cfg = model.cfg
    # Residual streams, norms and ports of a layer, its hidden MLP layer, and attention by key.
    per_position = cfg.n_layers * (20 * cfg.d_model + 3 * cfg.d_mlp + 4 * cfg.n_heads * n_pos)
    return int(bytes_per_number(model) * n_pos * per_position) + bytes_of_logits(model)


def refuse_beyond_memory(model: Decoder, *, n_pos: int, limits: Limits) -> None:
    """Refuse prompts of which not even one fits into the memory that was asked for.

    A GPU says by itself when its memory is full; on a CPU, a job would take the memory of others,
    or be killed. Where `batch_size` is set, it decides, and nothing is refused.

    Raises:
        DeviceMemoryError: if a pass of one prompt of `n_pos` tokens needs more than `memory_mb`.
    """
    needed = math.ceil(bytes_per_run(model, n_pos=n_pos) / 1e6)
    if limits.batch_size is None and limits.memory_mb is not None and needed > limits.memory_mb:
        raise DeviceMemoryError(
            f"one prompt of {n_pos} tokens needs about {needed} MB, but memory_mb is "
            f"{limits.memory_mb}; set compute.memory_mb to {needed} or more, or use shorter prompts"
        )


def bytes_kept(model: Decoder, *, n_pos: int, n_runs: int) -> int:
    """Return an estimate of what is kept of one prompt over `n_runs` runs, and at the end.

    In the model's number format: the outputs of both runs, and per run a residual stream of each
    layer (one layer's twice). In float32: the gradients at the heads and the MLP of each layer,
    those at one layer's heads twice, and per run a number per head and port and one layer's
    normalised residual stream. In the wider of the two: the changes of all sources twice, while
    they are put together.
    """
    cfg = model.cfg
    # All counts are per position and prompt.
    n_sources, n_ports = 1 + cfg.n_layers * (cfg.n_heads + 1), 3 * cfg.n_heads
    streams = n_runs * (cfg.n_layers + 1) * cfg.d_model  # `resid` of `GradientSum`
    gradients = cfg.d_model * (4 * cfg.n_layers + 2 * n_ports)
    gradients += n_runs * (cfg.d_model + (cfg.n_layers + 1) * n_ports)  # xhat of a layer, and c
    outputs, changes = (cfg.d_model * vectors for vectors in (6 * cfg.n_layers, 2 * n_sources))
    per_position = bytes_per_number(model) * (outputs + streams)
    per_position += torch.float32.itemsize * gradients
    # The changes are in float32 or wider, whatever the format of the model.
    per_position += bytes_per_number(model, at_least=torch.float32) * changes
    return int(n_pos * per_position)
