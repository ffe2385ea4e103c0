"""One job for all tasks of a model at a step, or one job per task."""

from collections.abc import Iterator
from pathlib import Path

from tests.workflow.conftest import Workflow

RESULTS = "results-smoke"
ONE = {"compute": {"tasks_per_job": 1}}
SMOKE = [{"name": "ioi", "n_prompts": 20}, {"name": "sva", "n_prompts": 50}]
PER_TASK = ("cache_activations", "discover_circuit")


def files(workflow: Workflow) -> Iterator[Path]:
    """Yield what these jobs make of the last step."""
    for kind in ("behaviour", "circuits"):
        yield from (workflow.folder / RESULTS / kind).glob("pocket-tiny/*/step400.*")


def test_the_files_are_the_same_byte_for_byte(finished, copied):
    expected = {path.relative_to(finished.folder): path.read_bytes() for path in files(finished)}
    assert len(expected) == 2 * 2
    for path in expected:
        (copied.folder / path).unlink()
    copied.run(*map(str, expected), config=copied.write_config("one.yaml", **ONE))
    found = {path.relative_to(copied.folder): path.read_bytes() for path in files(copied)}
    assert found == expected
    logs = copied.folder / RESULTS / "logs"
    assert all((logs / rule / "pocket-tiny/sva/step400.log").is_file() for rule in PER_TASK)


def test_a_task_more_or_less_runs_none_of_the_jobs_of_other_tasks(copied):
    """After a run with one job for all tasks was taken over without computing."""
    steps = 3

    def planned(**changes):
        return copied.jobs(config=copied.write_config("changed.yaml", **ONE, **changes))

    copied.run("--touch", config=copied.write_config("one.yaml", **ONE))
    assert planned() == {}
    more = planned(tasks=[*SMOKE, {"name": "gendered_pronoun", "n_prompts": 20}])
    assert more["make_task"] == 1
    assert [more[rule] for rule in PER_TASK] == [steps, steps]
    assert more["transfer_circuits"] == more["swap_components"] == 1
    assert not {"train_suite", "score_heads", "trace_algorithm"} & set(more)
    assert not set(PER_TASK) & set(planned(tasks=SMOKE[:1]))
