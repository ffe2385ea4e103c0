import logging
import math

import pytest
import torch

from circuitlapse import attribute_edges, load_decoder
from circuitlapse.circuits.attribution.gradients import GradientSum, Objective, source_changes
from circuitlapse.circuits.evaluation.sparse import bytes_per_prompt, make_plan
from circuitlapse.circuits.selection import Circuit
from circuitlapse.errors import DeviceMemoryError
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import (
    Limits,
    bytes_kept,
    bytes_per_run,
    in_batches,
    in_batches_of_runs,
    refuse_beyond_memory,
)
from circuitlapse.models.graph import Graph
from circuitlapse.models.memory import CUDA_BYTES
from circuitlapse.models.prompts import PromptPairs
from tests.conftest import save_random_model


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


@pytest.mark.parametrize(("n", "size", "sizes"), [(200, 192, [100] * 2), (10, 4, [4, 3, 3])])
def test_batches_are_as_equal_as_possible(n, size, sizes):
    done = in_batches(n, size=size, work=lambda batch: (batch.start, batch.stop), what="testing")
    assert [stop - start for start, stop in done] == sizes
    assert [start for start, _ in done] == [0, *(stop for _, stop in done[:-1])]


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

    with pytest.raises(DeviceMemoryError, match=r"^testing: no memory for one prompt"):
        in_batches(3, size=2, work=too_large, what="testing")
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(3, size=2, work=wrong, what="testing")


def test_once_a_batch_has_one_prompt_fewer_of_its_runs_are_tried(caplog):
    tried = []

    def work(batch, runs):
        tried.append((batch.stop - batch.start, runs))
        if (batch.stop - batch.start) * runs > fits:
            raise torch.OutOfMemoryError
        return batch.start

    fits = 3
    with caplog.at_level(logging.WARNING):
        done = in_batches_of_runs(4, size=2, runs=13, work=work, what="testing")
    assert done == [0, 1, 2, 3]
    assert tried == [(2, 13), (1, 13), (1, 6), (1, 3), (1, 3), (1, 3), (1, 3)]
    assert "testing: out of memory; 3 runs of one prompt at once from here on" in caplog.text
    fits = 0
    with pytest.raises(DeviceMemoryError, match=r"^testing: no memory for one prompt"):
        in_batches_of_runs(4, size=2, runs=2, work=work, what="testing")


def test_prompts_fill_the_memory_and_are_never_none():
    assert Limits(memory_mb=10).prompts(1_000_000, device="cpu") == 10
    assert Limits(memory_mb=10).prompts(100_000_000, device="cpu") == 1
    assert Limits().prompts(1_000_000, device="cpu") == 500
    assert Limits(batch_size=7, memory_mb=10).prompts(1_000_000, device="cpu") == 7


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A model that reads 200 tokens."""
    folder = tmp_path_factory.mktemp("reader") / "model"
    save_random_model(folder, max_position_embeddings=200)
    return load_decoder(folder)


def test_a_prompt_beyond_the_memory_that_was_asked_for_is_refused(reader):
    """By whatever runs prompts, in one sentence, and with the number that would do."""
    clean = [[place % 50 for place in range(200)]] * 2
    corrupted = [[1, *prompt[1:]] for prompt in clean]
    pairs = PromptPairs.from_lists(clean, corrupted, correct=[[1]] * 2, wrong=[[2]] * 2)
    needed = math.ceil(bytes_per_run(reader, n_pos=200) / 1e6)
    assert needed > 1
    message = (
        f"^one prompt of 200 tokens needs about {needed} MB, but memory_mb is 1; set "
        f"compute.memory_mb to {needed} or more, or use shorter prompts$"
    )
    runs = cache_activations(reader, pairs)
    how = {"metric": "logit_diff", "method": "eap", "limits": Limits(memory_mb=1)}
    for work in (
        lambda: cache_activations(reader, pairs, limits=Limits(memory_mb=1)),
        lambda: attribute_edges(reader, pairs, **how),
        lambda: attribute_edges(reader, pairs, activations=runs, **how),
    ):
        with pytest.raises(DeviceMemoryError, match=message):
            work()


def test_memory_that_does_or_that_nobody_asked_for_refuses_nothing(reader):
    needed = math.ceil(bytes_per_run(reader, n_pos=200) / 1e6)
    for limits in (Limits(memory_mb=needed), Limits(), Limits(batch_size=1, memory_mb=1)):
        refuse_beyond_memory(reader, n_pos=200, limits=limits)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 80 GB, of which 4 GB are free; PyTorch has 7 GB, and 1 GB of them in use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * GB)


GB = 10**9


def test_without_a_share_what_is_free_on_a_gpu_is_used(gpu):
    """With what PyTorch has set aside and does not use."""
    assert Limits().prompts(GB, device="cuda") == 7  # 0.7 of 4 + 7 - 1 GB
    assert Limits(memory_mb=50_000).prompts(GB, device="cuda") == 50


@pytest.mark.parametrize(("jobs", "prompts"), [(1, 54), (2, 26), (4, 12), (64, 1)])
def test_a_share_is_of_the_whole_gpu_less_cuda_and_what_is_allocated(gpu, jobs, prompts):
    """What is free plays no part: other jobs may just have started, or be about to end."""
    assert Limits(shared_by=jobs).prompts(GB, device="cuda") == prompts
    assert prompts == max(1, int(0.7 * (80 / jobs - 0.8 - 1)))


def test_memory_that_is_asked_for_ends_at_the_share(gpu):
    assert Limits(memory_mb=5000, shared_by=4).prompts(GB, device="cuda") == 5
    assert Limits(memory_mb=50_000, shared_by=4).prompts(GB, device="cuda") == 18


@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 8])
def test_all_jobs_on_a_gpu_plan_with_no_more_than_it_has(gpu, jobs):
    """CUDA, what is allocated (1 GB), and what a pass holds."""
    for limits in (Limits(shared_by=jobs), Limits(memory_mb=80_000, shared_by=jobs)):
        planned = limits.prompts(10_000_000, device="cuda") * 10_000_000
        assert jobs * (CUDA_BYTES + GB + planned) <= 80 * GB


@pytest.mark.parametrize("name", ["batch_size", "memory_mb", "shared_by"])
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_prompt_megabyte_or_job_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found {value}"):
        Limits(**{name: value})


def test_more_tokens_and_edges_take_more_memory(random_model):
    assert bytes_per_run(random_model, n_pos=8) > 2 * bytes_per_run(random_model, n_pos=3)
    graph = Graph(3, 2)
    small, large = (
        bytes_per_prompt(random_model, make_plan(graph, [circuit], ablated_is_a_run=True), n_pos=8)
        for circuit in (Circuit.empty(graph), Circuit.full(graph))
    )
    assert large > 3 * small


def held_by(thing):
    """Bytes of every tensor in an object, its lists and its records."""
    if isinstance(thing, torch.Tensor):
        return thing.nbytes
    if isinstance(thing, list):
        return sum(held_by(part) for part in thing)
    return sum(held_by(part) for part in vars(thing).values()) if hasattr(thing, "__dict__") else 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("n_runs", [1, 30])
def test_what_is_kept_of_a_prompt_is_what_outputs_changes_and_gradients_hold(
    random_folder, random_pairs, dtype, n_runs
):
    """Up to twice as much is estimated: one layer's gradients and copies come on top."""
    model = load_decoder(random_folder, dtype=dtype)
    runs = cache_activations(model, random_pairs)
    gradients = GradientSum(model, Objective(random_pairs, "logit_diff", runs.clean.logits_end))
    for _ in range(n_runs):
        gradients.add(runs.clean.embed[None], weights=[1.0])
    sums = (gradients._heads, gradients._mlps, gradients._logits)
    outputs = [run.outputs(model) for run in (runs.clean, runs.corrupted)]
    held = sum(map(held_by, (*sums, *outputs, source_changes(model, *outputs))))
    assert 1 < bytes_kept(model, n_pos=8, n_runs=n_runs) / (held / len(random_pairs)) < 2


def test_wider_numbers_take_more_memory(random_folder, random_model):
    """All of a pass doubles in float64; in bfloat16, logits are widened to float32."""
    wide, narrow = (load_decoder(random_folder, dtype=dtype) for dtype in ("float64", "bfloat16"))
    usual = bytes_per_run(random_model, n_pos=8)
    assert bytes_per_run(wide, n_pos=8) == 2 * usual
    logits = 6 * 50 * 4
    assert bytes_per_run(narrow, n_pos=8) == (usual - logits) / 2 + logits
    plan = make_plan(Graph(3, 2), [Circuit.full(Graph(3, 2))], ablated_is_a_run=True)
    usual = bytes_per_prompt(random_model, plan, n_pos=8)
    assert bytes_per_prompt(wide, plan, n_pos=8) == 2 * usual
    assert bytes_per_prompt(narrow, plan, n_pos=8) == (usual - logits) / 2 + logits
