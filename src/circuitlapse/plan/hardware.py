"""The GPUs that the plan knows, and how long a job takes on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.plan.cost import Shape, Work


class Gpu(NamedTuple):
    """A type of GPU, from its data sheet."""

    tflops: float
    """Dense float32 arithmetic without tensor cores, in 10^12 operations per second."""
    memory_gb: float

    @property
    def usable_gb(self) -> float:
        """Memory for a job, without that of the driver and losses by fragmentation."""
        return USABLE * self.memory_gb


USABLE = 0.93
"""Share of the memory in the data sheet that a job can use."""

GPUS: Mapping[str, Gpu] = {
    "t4": Gpu(8.1, 16.0),
    "v100": Gpu(15.7, 32.0),
    "rtx3090": Gpu(35.6, 24.0),
    "rtx4090": Gpu(82.6, 24.0),
    "a100": Gpu(19.5, 80.0),
    "a100-40gb": Gpu(19.5, 40.0),
    "l40s": Gpu(91.6, 48.0),
    "h100": Gpu(67.0, 80.0),
    "h200": Gpu(67.0, 141.0),
}


def find_gpu(name: str) -> Gpu:
    """Return the GPU with this name.

    Raises:
        UnknownNameError: if there is none; the known ones are listed.
    """
    if name not in GPUS:
        raise UnknownNameError(unknown_name("GPU", name, GPUS))
    return GPUS[name]


EFFICIENCY = 0.4
"""Share of the float32 arithmetic that matrix products of these sizes reach."""
KERNELS_PER_LAYER, KERNEL_S = 60, 8e-6
"""Kernels per layer and pass, and the minimum time of each."""
START_S = 10.0
"""Start of a job: Snakemake, imports, CUDA."""
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
    def of(cls, gpu: Gpu) -> Machine:
        """Return the machine with this GPU."""
        return cls(EFFICIENCY * gpu.tflops * 1e12, gpu.memory_gb)

    def seconds(self, work: Work, shape: Shape) -> float:
        """Return how long a job takes, with its start."""
        launches = work.passes * shape.layers * KERNELS_PER_LAYER * KERNEL_S
        arithmetic = work.operations / self.per_second
        return START_S + work.disk_gb / DISK_GB_PER_S + max(arithmetic, launches)
