import logging

import pytest
import torch

from circuitlapse.models.batching import Limits, in_batches


def test_a_batch_that_does_not_fit_is_halved_until_it_does(caplog):
    done = []

    def work(batch):
        if batch.stop - batch.start > 2:
            raise torch.OutOfMemoryError
        done.append((batch.start, batch.stop))
        return batch.start

    with caplog.at_level(logging.WARNING):
        assert in_batches(7, size=7, work=work, what="testing") == [0, 1, 2, 3, 4, 5, 6]
    assert done == [(n, n + 1) for n in range(7)]
    assert "testing: out of memory; 3 prompts at once from here on" in caplog.text


def test_what_was_done_before_a_cpu_ran_out_of_memory_is_not_done_again():
    done = []

    def work(batch):
        if batch.start == 4 and batch.stop == 8:
            torch.empty(2**52, dtype=torch.uint8)
        done.append((batch.start, batch.stop))

    in_batches(8, size=4, work=work, what="testing")
    assert done == [(0, 4), (4, 6), (6, 8)]


def test_one_prompt_that_does_not_fit_and_any_other_error_are_raised():
    def too_large(batch):
        raise torch.OutOfMemoryError

    def wrong(batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(3, size=2, work=too_large, what="testing")
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(3, size=2, work=wrong, what="testing")


def test_prompts_fill_the_memory_and_are_never_none():
    assert Limits(memory_mb=10).prompts(1_000_000, device="cpu") == 10
    assert Limits(memory_mb=10).prompts(100_000_000, device="cpu") == 1
    assert Limits().prompts(1_000_000, device="cpu") == 500
    assert Limits(batch_size=7, memory_mb=10).prompts(1_000_000, device="cpu") == 7


def test_the_budget_of_a_gpu_counts_what_pytorch_has_set_aside_and_does_not_use(monkeypatch):
    free, reserved, allocated = 4_000_000, 7_000_000, 1_000_000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)
    assert Limits().prompts(1_000_000, device="cuda") == 7  # 0.7 of 4 + 7 - 1 MB


@pytest.mark.parametrize("name", ["batch_size", "memory_mb"])
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_prompt_or_megabyte_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found {value}"):
        Limits(**{name: value})
