import re
from pathlib import Path

import pytest

from circuitlapse.paths import Clone, Paths, place_of, timings_of
from tests.clone import Planted


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
    assert place_of(log) == (Path(results), "score_heads/pythia-1.4b/step0")


def test_what_is_no_log_of_a_job_has_no_timings():
    with pytest.raises(ValueError, match="not in"):
        timings_of("a.log")


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path)


@pytest.mark.parametrize("task", ["sva", "gendered_pronoun"])
@pytest.mark.parametrize("below", ["faithful", "faithful/raw", "raw", ""])
def test_graphs_are_found_wherever_the_authors_put_them(planted, task, below):
    """SVA and pronoun graphs lie below `faithful`."""
    there = Clone.TASKS[task]
    for step in (143000, 512):
        planted.graph("pythia-1.4b", there, step, below=below, n_layers=1, n_heads=1, edges=())
    found = Clone(planted.folder).graphs("pythia-1.4b", task)
    assert [*found] == [512, 143000]
    assert found[512] == planted.folder / "results/graphs/pythia-1.4b" / there / below / "512.json"


def test_of_graphs_in_several_folders_those_of_the_faithful_size_are_taken(planted):
    for below in ("", "raw", "faithful", "faithful/raw"):
        planted.graph("a", "sva", 1, below=below, n_layers=1, n_heads=1, edges=())
    (found,) = Clone(planted.folder).graphs("a", "sva").values()
    assert found.parts[-3:] == ("faithful", "raw", "1.json")


def test_only_json_files_named_by_a_step_are_read(planted):
    planted.write("graphs/a/ioi/1000.json", {})
    planted.write("graphs/a/ioi/edge_counts.json", {})
    planted.write("graphs/a/ioi/in_circuit_edges.feather", "x")
    planted.write("baselines/a/all_models_task_performance.pt", "x")
    planted.write("baselines/a/ioi/143000.json", {})
    planted.write("baselines/a/ioi.json", {})
    clone = Clone(planted.folder)
    assert [*clone.graphs("a", "ioi")] == [1000]
    names = [str(file.relative_to(planted.folder)) for file in clone.baselines("a", "ioi")]
    assert names == ["results/baselines/a/ioi.json", "results/baselines/a/ioi/143000.json"]
    assert clone.curves("a", "ioi") == {}
    assert clone.models() == ["a"]


def test_a_model_has_the_name_of_its_repository():
    assert Clone.name_of("p", "EleutherAI/pythia-160m-seed1") == "pythia-160m-seed1"
    assert Clone.name_of("pocket-tiny", None) == "pocket-tiny"
