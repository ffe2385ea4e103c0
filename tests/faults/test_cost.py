"""What share of the CPU time of a run goes into digests; and that its jobs repeat bit for bit."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.faults.replaying import content_of

pytestmark = pytest.mark.faults

RESULTS = "results-smoke"
MOST = 0.03


def test_checking_digests_takes_less_than_three_percent_of_a_run(
    copied, jobs, server, tmp_path, record_property
):
    """Of the jobs alone, without Snakemake, and of all digests: of what is read and written."""
    whole, taken = content_of(copied.folder / RESULTS), tmp_path / "taken"
    for job in jobs:
        ended = server.run(job, copied.folder, prepare={"time_digests": (str(taken),)})
        assert ended.code == 0, ended.said
    assert content_of(copied.folder / RESULTS) == whole
    digests_s = sum(float(line) for line in taken.read_text().split())
    timings = (copied.folder / RESULTS).glob("benchmarks/**/*.tsv")
    jobs_s = pd.concat(pd.read_csv(file, sep="\t") for file in timings)["cpu_time"].sum()
    share = f"{digests_s:.2f} of {jobs_s:.1f} CPU seconds, {digests_s / jobs_s:.2%}"
    record_property("digests", share)
    assert digests_s < MOST * jobs_s
