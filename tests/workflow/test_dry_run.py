import pytest

ONCE = {
    "all",
    "make_corpus",
    "aggregate_behaviour",
    "aggregate_circuits",
    "plot_behaviour",
    "plot_circuits",
    "plot_faithfulness",
}
SIZES = {None: (3, 4, 13), "config/smoke.yaml": (1, 2, 3)}


@pytest.mark.parametrize("config", SIZES, ids=["default", "smoke"])
def test_each_configuration_plans_one_job_per_model_task_and_step(workflow, config):
    models, tasks, steps = SIZES[config]
    assert workflow.jobs(config=config) == dict.fromkeys(ONCE, 1) | {
        "train_suite": models,
        "make_task": tasks,
        "cache_activations": models * steps,
        "discover_circuit": models * steps,
    }


def test_every_stage_can_be_asked_for_by_name(workflow):
    assert set(workflow.jobs("models")) == {"models", "make_corpus", "train_suite"}
    assert "aggregate_circuits" not in workflow.jobs("circuits")
    assert "plot_circuits" not in workflow.jobs("tables")
    assert "plot_circuits" in workflow.jobs("figures")
