"""The GPUs that the plan knows, and how long a job takes on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.plan.cost import Shape, Work
from circuitlapse.settings.analysis import Compute


class Gpu(NamedTuple):
    """A type of GPU, from its data sheet."""

    tflops: float
    """Dense float32 arithmetic without tensor cores, in 10^12 operations per second."""
    tf32_tflops: float | None
    """Dense tf32 arithmetic with tensor cores; None for GPUs without it."""
    memory_gb: float

    @property
    def usable_gb(self) -> float:
        """Memory for a job, without that of the driver and losses by fragmentation."""
        return USABLE * self.memory_gb


USABLE = 0.93
"""Share of the memory in the data sheet that a job can use."""

GPUS: Mapping[str, Gpu] = {
    "t4": Gpu(8.1, None, 16.0),
    "v100": Gpu(15.7, None, 32.0),
    "rtx3090": Gpu(35.6, 35.6, 24.0),
    "rtx4090": Gpu(82.6, 82.6, 24.0),
    "a100": Gpu(19.5, 156.0, 80.0),
    "a100-40gb": Gpu(19.5, 156.0, 40.0),
    "l40s": Gpu(91.6, 183.0, 48.0),
    "h100": Gpu(67.0, 495.0, 80.0),
    "h200": Gpu(67.0, 495.0, 141.0),
}


def find_gpu(name: str) -> Gpu:
    """Return the GPU with this name.

    Raises:
        UnknownNameError: if there is none; the known ones are listed.
    """
    if name not in GPUS:
        raise UnknownNameError(unknown_name("GPU", name, GPUS))
    return GPUS[name]


EFFICIENCY, TF32_EFFICIENCY = 0.5, 0.22
"""Share of the arithmetic in the data sheet that attribution reaches, measured on an H200: 53 %
with 160 M and 54 % with 410 M parameters in float32, 21 % and 24 % in tf32. bfloat16 is 1.2 times
as fast as tf32, and counts as that."""
KERNELS_PER_LAYER, KERNEL_S = 60, 8e-6
"""Kernels per layer and pass, and the minimum time of each."""
START_S = 6.0
"""Start of a job: Snakemake, imports, CUDA; at most 6 s on the machine of an H200."""
DISK_GB_PER_S = 1.0
"""Speed of reading checkpoints to the GPU, and of writing and reading activations."""


@dataclass(frozen=True)
class Machine:
    """A GPU with the speed that jobs reach on it.

    Attributes:
        per_second: floating-point operations per second.
        memory_gb: of the GPU.
    """

    per_second: float
    memory_gb: float

    @classmethod
    def of(cls, gpu: Gpu, compute: Compute) -> Machine:
        """Return the machine with this GPU, for models that run as `compute` says."""
        tflops, tensor_cores = EFFICIENCY * gpu.tflops, gpu.tf32_tflops or 0.0
        if compute.matmul == "tf32" or compute.dtype == "bfloat16":
            tflops = max(tflops, TF32_EFFICIENCY * tensor_cores)
        return cls(tflops * 1e12, gpu.memory_gb)

    def seconds(self, work: Work, shape: Shape) -> float:
        """Return how long a job takes, with its start."""
        launches = work.passes * shape.layers * KERNELS_PER_LAYER * KERNEL_S
        arithmetic = work.operations / self.per_second
        return START_S + work.disk_gb / DISK_GB_PER_S + max(arithmetic, launches)
