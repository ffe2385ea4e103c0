"""Killed writers: what has its final name is whole, and the next attempt makes the rest."""

from __future__ import annotations

import pytest

from tests.damage import clear
from tests.faults.replaying import content_of

KIND = "killed writers"
pytestmark = pytest.mark.faults

RESULTS = "results-smoke"
WRITERS = {
    "make_corpus": "",
    "make_task": "ioi",
    "cache_activations": "step100",
    "discover_circuit": "step400",
    "score_heads": "step100",
    "trace_algorithm": "step100",
    "transfer_circuits": "",
    "swap_components": "",
    "aggregate_behaviour": "",
    "aggregate_circuits": "",
    "plot_behaviour": "",
    "build_explorer": "",
}
"""Rules, and what tells their job from the others."""
N_CALLS, N_TIMES = 5, 4


@pytest.fixture
def writer(rule, jobs):
    (job,) = [job for job in jobs if job.rule == rule and WRITERS[rule] in " ".join(job.outputs)]
    return job


def assert_resumes(copied, writer, server, whole, **killed):
    """Kill a job; then every result is whole or absent, and the job run again makes all."""
    ended = server.run(writer, copied.folder, **killed)
    assert ended.code in (0, -9), ended.said
    left = {name: found for name, found in visible(copied).items() if name in whole}
    assert left == {name: whole[name] for name in left}
    again = server.run(writer, copied.folder)
    assert again.code == 0, again.said
    assert content_of(copied.folder / RESULTS) == whole


def visible(copied):
    """Return the results under final names."""
    found = content_of(copied.folder / RESULTS)
    return {name: held for name, held in found.items() if "/." not in name}


def without_outputs(copied, writer, rng):
    """Remove what a job wrote, as Snakemake does before it; or leave it, to be replaced."""
    whole = content_of(copied.folder / RESULTS)
    if rng.random() < 0.7:
        for output in writer.outputs:
            clear(copied.folder / output)
    return whole


@pytest.mark.parametrize("call", range(N_CALLS))
@pytest.mark.parametrize("rule", WRITERS)
def test_a_writer_killed_at_a_change_of_a_file_loses_nothing(copied, writer, server, rng, call):
    whole = without_outputs(copied, writer, rng)
    at = rng.randrange(3 * 8 * len(writer.outputs))
    prepare = {"kill_at_call": (at, str(copied.folder / RESULTS))}
    assert_resumes(copied, writer, server, whole, prepare=prepare)


@pytest.mark.parametrize("time", range(N_TIMES))
@pytest.mark.parametrize("rule", WRITERS)
def test_a_writer_killed_at_any_time_loses_nothing(copied, writer, server, rng, time):
    whole = without_outputs(copied, writer, rng)
    kill_at_s = rng.uniform(0, 1.2 * took(copied, writer))
    assert_resumes(copied, writer, server, whole, kill_at_s=kill_at_s)


def took(copied, writer):
    """Return the seconds that a job took in the run."""
    (log,) = writer.logs
    timings = copied.folder / log.replace("/logs/", "/benchmarks/").replace(".log", ".tsv")
    return float(timings.read_text().splitlines()[1].split("\t")[0])
