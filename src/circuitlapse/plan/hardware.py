"""What GPUs can do, as far as the plan needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.plan.cost import Shape, Work


class Gpu(NamedTuple):
    """One kind of GPU, by its data sheet."""

    tflops: float
    """Dense float32 arithmetic without tensor cores, 10^12 operations per second."""
    memory_gb: float

    @property
    def usable_gb(self) -> float:
        """Memory that is left for a job, beside what the driver takes and what is cut up."""
        return USABLE * self.memory_gb


USABLE = 0.93
"""Share of a GPU's nominal memory that a job can have."""

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


def gpu_called(name: str) -> Gpu:
    """Return a GPU.

    Raises:
        UnknownNameError: if there is none of this name; the known ones are listed.
    """
    if name not in GPUS:
        raise UnknownNameError(unknown_name("GPU", name, GPUS))
    return GPUS[name]


EFFICIENCY = 0.4
"""Share of a GPU's float32 arithmetic that matrix products of these sizes sustain."""
KERNELS_PER_LAYER, KERNEL_S = 60, 8e-6
"""Kernels that a layer starts in a pass, and the least time each takes."""
START_S = 10.0
"""Starting a job: Snakemake, imports, CUDA."""
DISK_GB_PER_S = 1.0
"""Reading a checkpoint to the GPU, writing and reading activations."""


@dataclass(frozen=True)
class Machine:
    """A GPU with what it sustains.

    Attributes:
        per_second: floating-point operations.
        memory_gb: of the GPU.
    """

    per_second: float
    memory_gb: float

    @classmethod
    def of(cls, gpu: Gpu) -> Machine:
        """Return what a GPU sustains, by its data sheet."""
        return cls(EFFICIENCY * gpu.tflops * 1e12, gpu.memory_gb)

    def seconds(self, work: Work, shape: Shape) -> float:
        """Return how long the work of one job takes, its start included."""
        started = work.passes * shape.layers * KERNELS_PER_LAYER * KERNEL_S
        return (
            START_S + work.disk_gb / DISK_GB_PER_S + max(work.operations / self.per_second, started)
        )
