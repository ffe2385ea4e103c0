"""What GPUs can do, as far as the plan needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from circuitlapse.errors import UnknownNameError, unknown_name


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
