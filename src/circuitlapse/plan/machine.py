"""How long work takes on a machine."""

from __future__ import annotations

from dataclasses import dataclass

from circuitlapse.plan.cost import Work
from circuitlapse.plan.gpus import Gpu
from circuitlapse.plan.shapes import Shape

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
