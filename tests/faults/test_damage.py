"""Damage of every kind of file that a job reads: the job gives the same result, or says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.manifest.differences import refuse_replaced_inputs
from tests.damage import DAMAGES, clear
from tests.faults.replaying import content_of, refuse_unclear

KIND = "damaged files"
pytestmark = pytest.mark.faults

RESULTS = "results-smoke"
MODEL = "models/pocket-tiny/step400"
FILES = (
    *(f"corpus/pocket/{name}" for name in ("train.npz", "tokenizer.json", "provenance.json")),
    "corpus/pocket/held_out.txt",
    *(f"{MODEL}/{name}" for name in ("model.safetensors", "config.json", "tokenizer.json")),
    f"{MODEL}/provenance.json",
    "weights/pocket-tiny/step400.h5",
    "verified/pocket-tiny/first.json",
    "tasks/pocket/ioi.parquet",
    "activations/pocket-tiny/ioi/step400.h5",
    "behaviour/pocket-tiny/ioi/step400.parquet",
    "circuits/pocket-tiny/sva/step400.h5",
    "heads/pocket-tiny/step400.parquet",
    *(
        f"algorithm/pocket-tiny/step400/{name}.parquet"
        for name in (
            "algorithm_consistency",
            "gt_algorithm",
            "role_graph",
            "roles",
            "s2i",
            "self_repair",
        )
    ),
    "transfer/pocket-tiny.parquet",
    "swaps/pocket-tiny.parquet",
    *(
        f"tables/{name}.parquet"
        for name in ("behaviour", "circuit_summary", "components", "stability", "transfer")
    ),
)


@pytest.mark.parametrize("damage", [*DAMAGES, "other_run"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_changes_no_result_in_silence(
    file, damage, copied, jobs, server, rng, request
):
    path = copied.folder / RESULTS / file
    job = rng.choice(readers_of(file, jobs))
    if damage == "other_run":
        source: Path = request.getfixturevalue("other") / RESULTS / file
        clear(path)
        shutil.copyfile(source, path)
        if said := stopped_at_the_start(copied):
            assert f"{path}: not as it was written" in said
            return
    else:
        DAMAGES[damage](path, rng)
    before = content_of(copied.folder / RESULTS)
    ended = server.run(job, copied.folder)
    assert changed(before, content_of(copied.folder / RESULTS), job) == []
    if ended.code:
        place = str(Path(f"{RESULTS}/{file}").parent)
        refuse_unclear(ended, [place] if damage != "other_run" else [*job.inputs, "step 400"])


def stopped_at_the_start(workflow):
    """Return why every run would stop before its first job, if it would."""
    try:
        refuse_replaced_inputs(workflow.folder / RESULTS)
    except ArtifactError as error:
        return str(error)
    return ""


def readers_of(file, jobs):
    """Return the jobs that read a file, or what its record is about; training only if it must."""
    place = str(Path(file).parent) if file.endswith("provenance.json") else file
    found = [job for job in jobs if any(one.startswith(f"{RESULTS}/{place}") for one in job.inputs)]
    found = found or [job for job in jobs if job.reads(f"{RESULTS}/{file}")]
    return [job for job in found if job.rule != "train_suite"] or found


def changed(before, after, job):
    """Return which results changed, apart from finished parts of a job that failed."""
    parts = dict(job.params.items()).get("parts", "/")
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [name for name in names if not f"{RESULTS}/{name}/".startswith(f"{parts}/")]
