"""The workflow on a Slurm cluster: the same results, whatever happens to its jobs."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from circuitlapse.manifest.job_record import Manifest
from circuitlapse.manifest.differences import Comparison, Expected
from circuitlapse.plan.slots import SLOTS
from tests.conftest import beside, cannot_test
from tests.workflow.slurm import (
    SMOKE,
    Job,
    crash_controller,
    environment_of,
    fail_node,
    finish,
    go_on,
    hold,
    jobs_of,
    make,
    missing_programs,
    running_cluster,
    set_up,
    slurm,
    start,
    wait_for,
)
from tests.workflow.test_smoke import assert_whole, files_in

pytestmark = pytest.mark.slurm
RESULTS = "results-smoke"
TABLES = (
    *("behaviour", "circuit_summary", "faithfulness_curve", "circuit_edges"),
    *("ranking_curve", "ranking_area"),
)
ACTIVATIONS = ("activations/{model}/{task}/step{step}.h5",)
WHOLE = {"corpus", "models", "tasks", "behaviour", "circuits"}
RULES_TO_THE_CIRCUITS = {
    *("make_corpus", "train_suite", "make_task"),
    *("verify_model", "cache_activations"),
}


@pytest.fixture(scope="module")
def script() -> Path:
    return beside("tools/local-slurm.sh", "script that boots Slurm")


@pytest.fixture(scope="module", autouse=True)
def cluster(script) -> Iterator[None]:
    if missing := missing_programs():
        cannot_test(f"no {', '.join(missing)} here; install Slurm as root with `{script} install`")
    with running_cluster(script) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@dataclass(frozen=True)
class Story:
    """What happened to the smoke configuration on the cluster, in this order."""

    folder: Path
    cancelled: Job
    hung: Job
    refused: str
    held_when_killed: Job
    jobs_when_killed: list[Job]
    files_when_killed: dict[Path, float]
    restarted: str
    elsewhere: str


@pytest.fixture(scope="module")
def story(tmp_path_factory, finished) -> Story:
    """Run it; cancel a job, let one hang beyond its time, kill Snakemake, and restart it."""
    folder = set_up(tmp_path_factory.mktemp("cluster"))
    other = f"--chdir={tmp_path_factory.mktemp('other')}"
    named = "--job-name=circuitlapse_1"
    sleep = slurm("sbatch", "--parsable", "--mem=50", named, other, "--wrap=sleep 3600").strip()
    run = start(make("cluster"), folder)
    try:
        cancelled, hung = (hold(run, "make_task") for _ in range(2))
        slurm("scancel", str(cancelled.number))
        # so that the test need not wait for the ten minutes that it may take
        slurm("scontrol", "update", f"JobId={hung.number}", "EndTime=now+1")
        logs = folder / RESULTS / "logs/discover_circuit"
        wait_for(lambda: list(logs.rglob("*.log")), run)
        held = hold(run, "discover_circuit")
        refused = subprocess.run(make("restart-cluster"), cwd=folder, stderr=subprocess.PIPE)
    finally:
        run.kill()
    assert_whole(folder / RESULTS, files_in(finished.folder / RESULTS))
    jobs, files = jobs_of(folder), times_in(folder / RESULTS)
    restarted = finish(make("restart-cluster"), folder)
    elsewhere = slurm("squeue", "--noheader", f"--jobs={sleep}", "--format=%T").strip()
    slurm("scancel", sleep)
    return Story(
        folder, cancelled, hung, refused.stderr.decode(), held, jobs, files, restarted, elsewhere
    )


def times_in(results: Path) -> dict[Path, float]:
    return {path: (results / path).stat().st_mtime for path in files_in(results)}


@pytest.fixture
def lab(finished, tmp_path) -> Path:
    """A checkout on the cluster with the results of the local run."""
    shutil.copytree(finished.folder, tmp_path / "lab")
    return set_up(tmp_path / "lab")


def test_the_cluster_gives_the_same_tables_bit_for_bit(story, finished):
    for table in TABLES:
        one, other = (
            (folder / RESULTS / f"tables/{table}.parquet").read_bytes()
            for folder in (story.folder, finished.folder)
        )
        assert one == other, table


@pytest.mark.parametrize(("which", "state"), [("cancelled", "CANCELLED"), ("hung", "TIMEOUT")])
def test_a_job_that_did_not_end_well_is_queued_again_and_asks_for_more(story, which, state):
    held = getattr(story, which)
    first, second = (job for job in jobs_of(story.folder) if job.work == held.work)
    assert (first.number, first.state, second.state) == (held.number, state, "COMPLETED")
    assert (held.limit, second.limit) == ("10:00", "20:00")
    assert (held.memory, second.memory) == ("1350M", "2350M")


def test_no_run_is_restarted_that_is_still_going_on(story):
    assert f"A run is still active in {story.folder}" in story.refused
    at_the_kill = {job.number: job.state for job in story.jobs_when_killed}
    assert at_the_kill[story.held_when_killed.number] == "RUNNING"


def test_a_restart_cancels_the_jobs_that_a_killed_run_left_behind_and_no_others(story):
    left = [job.number for job in story.jobs_when_killed if job.state in ("RUNNING", "PENDING")]
    after = {job.number: job for job in jobs_of(story.folder)}
    assert "Cancelling what was left behind:" in story.restarted
    assert after[story.held_when_killed.number].state == "CANCELLED"
    assert {after[number].state for number in left} <= {"CANCELLED", "COMPLETED"}
    assert story.elsewhere == "RUNNING"


def test_a_restart_loses_nothing_finished_and_leaves_nothing_half_written(story, finished):
    """Every file is what a run leaves that nobody killed, and was written by one job only."""
    results = story.folder / RESULTS
    found, expected = files_in(results), files_in(finished.folder / RESULTS)
    # when a circuit is finished while no Snakemake runs, nobody deletes the activations it used
    kept = {path: text for path, text in found.items() if path.parts[0] != "activations"}
    assert kept.items() <= expected.items()
    assert {path for path in expected if path.parts[0] in WHOLE} <= found.keys()
    assert not [path for path in results.rglob(".*") if path.is_dir()]
    again = {job.rule for job in jobs_of(story.folder)[len(story.jobs_when_killed) :]}
    assert "discover_circuit" in again
    assert not again & RULES_TO_THE_CIRCUITS
    times, parts = times_in(results), WHOLE - {"circuits"}
    whole = {path for path in story.files_when_killed if path.parts[0] in parts}
    assert {path.parts[0] for path in whole} == parts
    assert [path for path in whole if times[path] != story.files_when_killed[path]] == []


def assert_as_written(results: Path) -> None:
    """The manifest verifies; what comes after these tables is not made here."""
    found = Comparison(Manifest.read(results), Expected(deleted=ACTIVATIONS))
    assert found.differences == []
    assert found.n_files > 30


def test_after_a_restart_the_manifest_knows_every_file(story):
    """After a cancelled job, one that ran out of time, and a killed Snakemake."""
    assert_as_written(story.folder / RESULTS)


@pytest.mark.faults
def test_a_run_outlives_its_controller_and_its_node(lab, script, finished):
    """The controller is killed in one job; in the next, the node fails and comes back."""
    results = lab / RESULTS
    tables = [f"tables/{name}.parquet" for name in TABLES]
    for path in (*tables, "circuits/pocket-tiny/ioi/step400.h5"):
        (results / path).unlink()
    run = start(make("cluster"), lab)
    try:
        held = hold(run, "cache_activations")
        crash_controller(script)
        go_on(held)
        lost = hold(run, "discover_circuit")
        fail_node(lost)
    finally:
        code = run.end()
    assert code == 0, run.output.read_text()
    for path in tables:
        assert (results / path).read_bytes() == (finished.folder / RESULTS / path).read_bytes()
    assert [job.number for job in jobs_of(lab) if job.work == held.work] == [held.number]
    assert_as_written(results)


@pytest.fixture
def on_gpus(lab) -> str:
    """The smoke configuration on GPUs; here no job can do more than ask for one."""
    config = yaml.safe_load((lab / SMOKE).read_text()) | {"compute": {"device": "cuda"}}
    (lab / "config/gpu.yaml").write_text(yaml.safe_dump(config))
    return "config/gpu.yaml"


def test_jobs_that_run_a_model_get_a_gpu_each_and_are_cancelled_with_the_run(lab, on_gpus):
    run = start(make("cluster", on_gpus), lab)
    try:
        held = hold(run, "cache_activations")
        variables = environment_of(held)
    finally:
        run.kill(signal.SIGINT)
    assert run.end() != 0
    assert "TresPerJob=gres:gpu:1" in slurm("scontrol", "show", "job", str(held.number))
    wait_for(lambda: {job.state for job in jobs_of(lab)} == {"CANCELLED"})
    # the GPU is the one that Slurm gave, and no slot on it
    assert "CUDA_VISIBLE_DEVICES=0" in variables
    assert not {name for name in variables if name.startswith(f"{SLOTS}=")}


def test_inside_one_allocation_jobs_take_slots_on_its_gpus(lab, on_gpus, willing_torch):
    target = f"{RESULTS}/behaviour/pocket-tiny/ioi/step0.parquet"
    size = ("--cpus-per-task=2", "--mem=4G", "--time=5", "--partition=gpu")
    script = "workflow/profiles/slurm/one_allocation.sh"
    run = start(["sbatch", "--wait", *size, script, target, "--configfile", on_gpus], lab)
    assert run.end() != 0  # nothing computes on this GPU
    log = lab / RESULTS / "logs/cache_activations/pocket-tiny/step0.log"
    assert "on GPU 0, jobs that share it: 1" in log.read_text()
    assert "PyTorch finds no CUDA GPU" in log.read_text()


def test_one_allocation_runs_every_job_on_the_node_it_is_given(lab):
    target = f"{RESULTS}/figures/behaviour.png"
    before = (lab / target).read_bytes()
    (lab / target).unlink()
    size = ("--cpus-per-task=2", "--mem=4G", "--time=5", "--partition=gpu")
    script = "workflow/profiles/slurm/one_allocation.sh"
    finish(["sbatch", "--wait", *size, script, target, "--configfile", SMOKE], lab)
    assert (lab / target).read_bytes() == before
    (job,) = jobs_of(lab)
    assert "TresPerJob=gres:gpu:1" in slurm("scontrol", "show", "job", str(job.number))
    assert "1 of 1 steps" in (lab / f"slurm-{job.number}.out").read_text()
