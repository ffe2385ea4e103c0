import re
from pathlib import Path

import pytest

from circuitlapse.paths import Paths, timings_of


def test_every_path_lies_below_the_results_with_wildcards_in_one_order():
    order = ["suite", "model", "task", "step", "table", "figure"]
    for path in vars(Paths("out/mine")).values():
        assert path.startswith("out/mine/")
        wildcards = re.findall(r"{(\w+)}", path)
        assert wildcards == sorted(wildcards, key=order.index)


@pytest.mark.parametrize("results", [".", "results", "/all/logs/mine"])
def test_the_timings_of_a_job_have_the_name_of_its_log(results):
    paths = Paths(results)
    log = f"{paths.logs}/score_heads/pythia-1.4b/step0.log"
    expected = Path(f"{paths.benchmarks}/score_heads/pythia-1.4b/step0.tsv")
    assert timings_of(log) == timings_of(Path(log)) == expected


def test_what_is_no_log_of_a_job_has_no_timings():
    with pytest.raises(ValueError, match="not in"):
        timings_of("a.log")
