"""Nine kinds of damage that once changed results, or were kept, without a word.

In each, one bit of a file of a finished run is other than it was:

1. the activations of a model, which its heads are scored with,
2. the weights of a model,
3. the token ids of the corpus, which a model is trained on,
4. the scores of heads, which roles are given by,
5. a circuit, which is kept when its job runs again,
6. the finished part of a job that was stopped, which the next attempt takes over,
7. the tokenizer in the folder of a model, which the text for heads is cut with,
8. a table that a figure is drawn from,
9. the text that heads are scored on.

Every time the job that reads the file names it and changes nothing, or makes it again as it was.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.damage import flip
from tests.faults.replaying import content_of, refuse_unclear

RESULTS = "results-smoke"
MODEL = "models/pocket-tiny/step400"
N_BITS = 4
"""Bits that are tried, one at a time: not all of them matter."""


@pytest.fixture
def run(copied, jobs, server):
    """Run the job of a rule again, in the copy; of several, the one with an output of this name."""

    def run(rule, of=""):
        (job,) = [job for job in jobs if job.rule == rule and of in " ".join(job.outputs)]
        return server.run(job, copied.folder)

    return run


@pytest.fixture
def results(copied):
    return copied.folder / RESULTS


@pytest.fixture
def refused(results, run):
    """Change one bit of a file and run the job that reads it, several times."""

    def refused(file, *job):
        path, whole = results / file, content_of(results)
        for seed in range(N_BITS):
            flip(path, Random(seed))
            ended = run(*job)
            refuse_unclear(ended, [f"{RESULTS}/{file}"])
            path.write_bytes(whole[file])
            assert content_of(results) == whole

    return refused


def test_changed_activations_are_refused(refused):
    refused("activations/pocket-tiny/ioi/step400.h5", "score_heads", "step400")


def test_changed_weights_are_refused(refused):
    refused(f"{MODEL}/model.safetensors", "cache_activations", "step400")


def test_changed_tokens_of_the_corpus_are_refused(results, run):
    """In an archive whose own checksums fit."""
    file = "corpus/pocket/train.npz"
    whole = content_of(results)
    with np.load(results / file) as archive:
        tokens = dict(archive)
    next(iter(tokens.values()))[1000] ^= 1
    np.savez(results / file, **tokens)
    before = content_of(results)
    assert len(before[file]) == len(whole[file])
    refuse_unclear(run("train_suite"), [f"{RESULTS}/{file}"])
    assert content_of(results) == before


def test_changed_scores_of_heads_are_refused(refused):
    refused("heads/pocket-tiny/step400.parquet", "trace_algorithm", "step400")


def test_a_changed_circuit_is_not_kept(results, run):
    path, whole = results / "circuits/pocket-tiny/ioi/step400.h5", content_of(results)
    for seed in range(N_BITS):
        flip(path, Random(seed))
        ended = run("discover_circuit", "step400")
        assert (ended.code, ended.said.count("; made again")) == (0, 1), ended.said
        assert content_of(results) == whole


def test_a_changed_part_of_a_stopped_job_is_not_taken_over(results, run):
    last, whole = results / MODEL / "model.safetensors", content_of(results)
    aside = last.rename(last.with_suffix(".aside"))
    run("transfer_circuits")  # fails at the last step
    aside.rename(last)
    part = results / "transfer/pocket-tiny/step0.parquet"
    flip(part, Random(0))
    ended = run("transfer_circuits")
    assert (ended.code, ended.said.count("; made again")) == (0, 1), ended.said
    assert content_of(results) == whole


def test_a_changed_tokenizer_of_a_model_is_refused(refused):
    refused(f"{MODEL}/tokenizer.json", "score_heads", "step400")


def test_a_changed_table_is_refused(refused):
    refused("tables/circuit_summary.parquet", "plot_circuits")


def test_changed_text_for_heads_is_refused(refused):
    refused("corpus/pocket/held_out.txt", "score_heads", "step400")
