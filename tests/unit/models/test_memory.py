"""The share of a process on a GPU that is a stand-in, and errors with the words of PyTorch."""

from __future__ import annotations

import re

import pytest
import torch

from circuitlapse.errors import DeviceMemoryError
from circuitlapse.models.memory import (
    CUDA_BYTES,
    is_out_of_memory,
    keep_to_share,
    memory_for,
    share_of_gpu,
)

GPU = torch.device("cuda")
TOTAL = 80_000_000_000
ADVICE = "; take a device with more memory, or fewer jobs on each GPU (compute.jobs_per_gpu)"

ON_A_GPU = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 512.00 MiB is free. Including non-PyTorch memory, this process has 78.50 GiB memory in "
    "use. {allowed}Of the allocated memory {allocated} GiB is allocated by PyTorch, and 256.00 MiB "
    "is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
    "setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 80 GB; returns the limits that are set on it."""
    limits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, TOTAL))

    def limit(share, device=None):
        """PyTorch refuses a device without a number."""
        assert device is None or torch.device(device).index is not None
        limits.append(share)

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    return limits


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_shares_and_what_cuda_takes_add_up_to_the_gpu(gpu, jobs):
    assert jobs * (share_of_gpu(GPU, jobs) + CUDA_BYTES) == pytest.approx(TOTAL)


def test_a_gpu_that_is_too_small_leaves_nothing(gpu):
    assert share_of_gpu(GPU, 200) == 0


def test_a_process_cannot_take_the_share_of_another(gpu, monkeypatch):
    keep_to_share("cpu", 2)
    keep_to_share("cuda", 1)
    assert gpu == []
    with monkeypatch.context() as without:
        without.setattr(torch.cuda, "is_available", lambda: False)
        keep_to_share("cuda", 2)
    assert gpu == []
    keep_to_share("cuda", 4)
    assert gpu == [pytest.approx((TOTAL / 4 - CUDA_BYTES) / TOTAL)]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (ON_A_GPU.format(allowed="", allocated="77.00"),
         ": 2.15 GB are needed in one piece, 0.537 GB are free, 1.61 GB are missing"),
        (ON_A_GPU.format(allowed="19.00 GiB allowed; ", allocated="18.50"),
         ": 2.15 GB are needed in one piece, 0.268 GB are free, 1.88 GB are missing"),
        (ON_A_GPU.format(allowed="19.00 GiB allowed; ", allocated="18.90"),
         ": 2.15 GB are needed in one piece, 0 GB are free, 2.15 GB are missing"),
        (ON_A_GPU.format(allowed="", allocated="9.00").replace("512.00 MiB is", "3.00 GiB is"),
         ": 2.15 GB are needed in one piece, 3.22 GB are free, but in pieces"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5000000000 bytes.",
         ": 5 GB are needed in one piece"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", ""),
        ("CUDA error: out of memory", ""),
    ],
)  # fmt: skip
def test_an_error_says_how_much_memory_is_missing(text, sizes):
    message = f"^{re.escape(f'no memory for the weights{sizes}{ADVICE}')}$"
    with pytest.raises(DeviceMemoryError, match=message), memory_for("the weights"):
        raise (RuntimeError if "CUDA out of memory" not in text else torch.OutOfMemoryError)(text)


def test_an_error_of_this_machine_is_recognised():
    with pytest.raises(DeviceMemoryError, match=r"4\.5e\+06 GB are needed"), memory_for("it"):
        torch.empty(2**52, dtype=torch.uint8)


def test_another_error_stays_as_it_is():
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_for("the weights"):
        raise RuntimeError("shapes differ")
