"""Every model is compared with TransformerLens before it is analysed."""

import json

import pytest

from circuitlapse.io.table_files import read_provenance
from tests.workflow.conftest import Workflow

RESULTS = "results-smoke"
COMPUTED = {"cache_activations", "discover_circuit", "score_heads", "trace_algorithm"}


@pytest.mark.parametrize(("verify", "jobs"), [("first", 1), ("all", 3), ("none", 0)])
def test_a_model_is_verified_at_its_first_step_at_all_or_at_none(workflow, verify, jobs):
    planned = workflow.jobs("--config", f"checkpoints={{verify: {verify}}}")
    assert planned.get("verify_model", 0) == jobs


@pytest.mark.parametrize("tasks", ["[{name: ioi}]", "[{name: sva}]"])
def test_nothing_is_computed_with_a_model_that_is_not_verified(workflow, tasks):
    """Heads are scored without activations where there is no IOI task.

    What compares the weights of checkpoints does not run them.
    """
    without = workflow.jobs("--omit-from", "verify_model", "--config", f"tasks={tasks}")
    of_weights = {"aggregate_checkpoints", "plot_audit", "plot_checkpoints"}
    assert set(without) == {"make_corpus", "make_task", "train_suite"} | of_weights


def test_published_models_are_verified_one_checkpoint_at_a_time(workflow):
    """Also those of which only the behaviour is measured; no job waits for another in a circle."""
    steps = 12
    for verify, jobs in (("first", 2), ("all", 2 * steps)):
        keys = ("--config", f"checkpoints={{at_once: 1, verify: {verify}}}")
        planned = workflow.jobs(*keys, config="config/pythia-quick.yaml")
        assert planned["verify_model"] == jobs
        assert planned["fetch_step"] == 2 * steps
    assert workflow.jobs(config="config/pythia.yaml")["verify_model"] == 7


def test_results_name_the_step_that_was_verified(finished):
    record = finished.folder / RESULTS / "verified/pocket-tiny/first.json"
    assert json.loads(record.read_text())["step"] == 0
    origin = read_provenance(finished.folder / RESULTS / "heads/pocket-tiny/step400.parquet")
    assert origin["verified_step"] == "0"
    assert float(origin["verified_difference"]) < 1e-5


def test_with_another_first_step_no_model_is_verified_or_analysed_again(finished: Workflow):
    """And what was made from the other steps too is made again, together with any other change."""
    config = finished.write_config("later.yaml", steps=[100, 400])
    planned = finished.jobs(config=config)
    assert not {"verify_model", *COMPUTED} & set(planned)
    assert {"transfer_circuits", "aggregate_behaviour", "plot_behaviour"} <= set(planned)
    changed = finished.jobs("--config", "circuits={threshold: 0.9}", config=config)
    assert changed["discover_circuit"] == 2
    assert "verify_model" not in changed
