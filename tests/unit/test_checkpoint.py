from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch.overrides import TorchFunctionMode

from circuitlapse import Circuit, Limits, checkpoint as checkpoint_module
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.errors import ArtifactError, DeviceMemoryError
from circuitlapse.exchange.transfer import FoundCircuit
from circuitlapse.heads.registry import SCORES, needing
from circuitlapse.heads.scoring import score_heads
from circuitlapse.io.task_files import read_task
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import BEHAVIOUR, HEADS, SWAPS, TRANSFER
from circuitlapse.settings.analysis import Algorithm, Bootstrap, Circuits, Compute, Heads
from circuitlapse.types import HeadSet

WHERE = {"model": "tiny", "variant": "seed1", "step": 0, "tokens": 0}
COMPUTE = Compute(dtype="float64", batch_size=3)
BOOTSTRAP = Bootstrap(samples=100, level=0.95, seed=0)


@pytest.fixture(scope="module")
def checkpoint(pocket):
    return Checkpoint.load(pocket / "step0", WHERE, COMPUTE)


@pytest.fixture(scope="module")
def task(pocket):
    return read_task(pocket / "mine.parquet")


def test_the_row_of_a_task_fits_its_table_and_its_value_is_the_metric(checkpoint, task):
    runs = checkpoint.run(task)
    assert runs.clean.logits_end.dtype == torch.float64
    row = checkpoint.behaviour(task, *runs.end_logits, BOOTSTRAP)
    assert set(row) == set(BEHAVIOUR.columns)
    assert row.items() >= (WHERE | {"task": "mine", "unit": "logits", "dtype": "float64"}).items()
    ids = [[cell[0] for cell in task.frame[side]] for side in ("correct", "wrong")]
    correct, wrong = (runs.clean.logits_end[torch.arange(10), side] for side in ids)
    assert row["value"] == pytest.approx((correct - wrong).mean().item(), rel=1e-12)


def test_the_number_of_parameters_is_that_of_the_weights_on_disk(checkpoint, task, pocket):
    row = checkpoint.behaviour(task, *checkpoint.end_logits(task), BOOTSTRAP)
    weights = load_file(pocket / "step0/model.safetensors")
    assert row["n_parameters"] == sum(part.size for part in weights.values())


def test_the_record_of_a_circuit_says_where_it_was_found_and_how(checkpoint, task):
    settings = Circuits(ig_steps=3, grid_ratio=2.0, refine_points=1, random_circuits=1)
    runs = checkpoint.run(task)
    record = checkpoint.circuit(task, runs, settings, BOOTSTRAP)
    assert {name: getattr(record, name) for name in WHERE} == WHERE
    assert (record.task, record.metric, record.ig_steps) == ("mine", "logit_diff", 3)
    row = checkpoint.behaviour(task, *runs.end_logits, BOOTSTRAP)
    assert np.mean(record.m_model) == pytest.approx(row["value"], rel=1e-5)


@pytest.fixture(scope="module")
def ioi(pocket):
    """Prompts with names at three positions; the names themselves do not matter here."""
    return with_roles(read_task(pocket / "mine.parquet"))


def with_roles(task):
    frame = task.frame.assign(**{f"pos_{role}": 1 for role in ("io", "s1", "s2")})
    return replace(task, frame=frame)


SETTINGS = Heads(lengths=[4], n_mean=4, n_documents=2, n_positions=6)


def test_every_score_of_every_head_is_in_the_table_of_heads(checkpoint, ioi):
    documents = [np.arange(3, 11) + shift for shift in range(5)]
    table = checkpoint.heads(ioi, checkpoint.run(ioi), documents, SETTINGS, BOOTSTRAP, seed=3)
    HEADS.check(table, where="heads")
    assert set(table["score"]) == set(SCORES)
    assert len(table) == 4 * len(SCORES)
    assert (table["value"].isna() == (table["status"] != "ok")).all()
    assert set(table["model"]) == {"tiny"}
    alone = score_heads(
        checkpoint.model,
        scores=["copy", "cspa"],
        pairs=PromptPairs.from_task(ioi),
        text=[torch.from_numpy(document) for document in documents],
        seed=3,
        **SETTINGS.model_dump(exclude={"text", "dataset"}),
    )
    for score, rows in alone.groupby("score"):
        found = table.loc[table["score"] == score, "value"]
        np.testing.assert_array_equal(found, rows["value"])


def test_without_prompts_or_text_scores_about_them_are_undefined_and_say_why(checkpoint):
    table = checkpoint.heads(None, None, [], SETTINGS, BOOTSTRAP, seed=3)
    assert set(table["score"]) == set(SCORES)
    status = table.groupby("score")["status"].agg(set)
    assert all(status[name] == {"no_prompts"} for name in needing("prompts"))
    assert status["cspa"] == {"no_text"}
    assert status["induction"] == {"ok"}
    assert table.loc[table["status"] != "ok", "value"].isna().all()


def test_circuits_of_a_task_at_all_steps_and_of_all_tasks_at_this_step_are_transferred(
    checkpoint, task
):
    names = [(name, step) for name in ("mine", "other") for step in (0, 8)]
    about = {
        "model": "tiny",
        "variant": "seed1",
        "method": "eap",
        "ig_steps": 1,
        "selection": "nodes",
    }
    edges = Circuit.full(model_graph(checkpoint.model)).mask
    found = [FoundCircuit(task=name, step=step, in_circuit=edges, **about) for name, step in names]
    table = checkpoint.transfer(task, checkpoint.run(task), found, BOOTSTRAP)
    TRANSFER.check(table, where="transfer")
    circuits = list(zip(table["circuit_task"], table["circuit_step"], strict=True))
    assert circuits == [("mine", 0), ("mine", 8), ("other", 0)]
    np.testing.assert_allclose(table["m_circuit"], table["m_model"], rtol=1e-6)
    assert set(table["task"]) == {"mine"}
    with pytest.raises(ArtifactError, match="found one of large"):
        checkpoint.transfer(
            task, checkpoint.run(task), [replace(found[0], model="large")], BOOTSTRAP
        )


def test_swapping_heads_of_a_step_with_themselves_changes_nothing(checkpoint, task):
    source = replace(checkpoint, where=checkpoint.where | {"step": 8})
    sets = {HeadSet.CIRCUIT: frozenset({(0, 1)}), HeadSet.S2I: frozenset()}
    table = checkpoint.swaps(task, source, sets, random_sets=1, seed=0, bootstrap=BOOTSTRAP)
    SWAPS.check(table, where="swaps")
    assert set(zip(table["source_step"], table["target_step"], strict=True)) == {(8, 0)}
    differences = table[["difference", "difference_low", "difference_high"]]
    assert (differences[:2] == 0).all(axis=None)
    assert differences[2:].isna().all(axis=None)
    assert table["status"].tolist() == ["ok", "ok", "no_heads", "no_heads"]


@pytest.mark.parametrize(("matmul", "precision"), [("tf32", "high"), ("highest", "highest")])
def test_a_checkpoint_sets_how_float32_is_multiplied(pocket, matmul, precision):
    torch.set_float32_matmul_precision("medium")
    try:
        Checkpoint.load(pocket / "step0", WHERE, Compute(matmul=matmul))
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_job_plans_with_its_share_of_a_gpu_and_cannot_take_more(pocket, checkpoint, monkeypatch):
    limited, loaded = [], []
    monkeypatch.setattr(checkpoint_module, "keep_to_share", lambda *share: limited.append(share))
    monkeypatch.setattr(
        checkpoint_module, "load_decoder", lambda *what: loaded.append(what) or checkpoint.model
    )
    for asked, jobs in ((3, 3), ("auto", 1)):
        compute = Compute(device="cuda", jobs_per_gpu=asked, memory_mb=70)
        found = Checkpoint.load(pocket / "step0", WHERE, compute)
        assert found._limits == Limits(None, 70, jobs)
        assert limited.pop() == ("cuda", jobs)
        assert loaded.pop() == (pocket / "step0", "cuda", "float32")


def test_weights_that_do_not_fit_are_an_error_that_names_them(pocket, monkeypatch):
    def load_decoder(*what):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    monkeypatch.setattr(checkpoint_module, "load_decoder", load_decoder)
    with pytest.raises(DeviceMemoryError, match=r"^no memory for the weights in .*step0: 3.22 GB"):
        Checkpoint.load(pocket / "step0", WHERE, COMPUTE)


class LittleMemory(TorchFunctionMode):
    """A device that runs out of memory when attention is computed for more than three prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        is_attention = function.__name__ == "softmax" and args[0].ndim == 4
        if is_attention and args[0].shape[1] > 3:  # [job, pair, query, pos]
            self.failed += 1
            raise torch.OutOfMemoryError
        return function(*args, **(kwargs or {}))


def measure_circuits(checkpoint, task):
    settings = Circuits(ig_steps=3, grid_ratio=2.0, refine_points=1, random_circuits=1)
    record = checkpoint.circuit(task, checkpoint.run(task), settings, BOOTSTRAP)
    return pd.DataFrame({"scores": record.scores.ravel(), "circuit": record.in_circuit.ravel()})


def measure_heads(checkpoint, task):
    documents = [np.arange(3, 11) + shift for shift in range(5)]
    return checkpoint.heads(task, None, documents, SETTINGS, BOOTSTRAP, seed=3)


def measure_algorithm(checkpoint, task):
    scores = measure_heads(checkpoint, task)
    tables = checkpoint.ioi_algorithm(
        task, scores, None, Algorithm(min_copy=0), BOOTSTRAP, lengths=SETTINGS.lengths
    )
    return tables["effects"]


def measure_swaps(checkpoint, task):
    sets = {HeadSet.CIRCUIT: frozenset({(0, 1)})}
    return checkpoint.swaps(task, checkpoint, sets, random_sets=1, seed=0, bootstrap=BOOTSTRAP)


def measure_behaviour(checkpoint, task):
    return pd.DataFrame([checkpoint.behaviour(task, *checkpoint.end_logits(task), BOOTSTRAP)])


@pytest.mark.parametrize(
    "measure",
    [measure_behaviour, measure_circuits, measure_heads, measure_algorithm, measure_swaps],
)
def test_every_measurement_goes_on_with_less_memory_and_gives_the_same_numbers(
    pocket, ioi, measure
):
    checkpoint = Checkpoint.load(pocket / "step0", WHERE, Compute(dtype="float64"))
    expected = measure(checkpoint, ioi)
    with LittleMemory() as memory:
        found = measure(checkpoint, ioi)
    assert memory.failed
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)
