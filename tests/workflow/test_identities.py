"""What must hold exactly, on a model and on prompts that the workflow made."""

import numpy as np
import pytest

from circuitlapse import Circuit, PromptPairs, attribute_edges, evaluate_circuits, load_decoder
from circuitlapse.io.task_files import read_task
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.load import model_graph
from circuitlapse.models.metrics import per_prompt_metric


@pytest.fixture(params=["ioi", "sva"])
def trained(finished, request):
    """A trained model, a task's pairs, and the task's metric."""
    results = finished.folder / "results-smoke"
    task = read_task(results / f"tasks/pocket/{request.param}.parquet")
    model = load_decoder(results / "models/pocket-tiny/step400", dtype="float64")
    return model, PromptPairs.from_task(task), task.metric


def test_all_edges_are_the_clean_model_and_none_the_corrupted_prompt(trained):
    model, pairs, metric = trained
    graph = model_graph(model)
    ends = [Circuit.full(graph), Circuit.empty(graph)]
    values = evaluate_circuits(model, pairs, ends, metric=metric)
    runs = cache_activations(model, pairs)
    for row, run in zip(values, (runs.clean, runs.corrupted), strict=True):
        expected = per_prompt_metric(run.logits_end, pairs, metric=metric)
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_scores_leaving_the_input_add_up_to_what_corruption_costs(trained):
    """The left rule's error falls like 1/m, and is small at the 30 points of the paper."""
    model, pairs, metric = trained
    runs = cache_activations(model, pairs)
    clean, corrupted = (
        per_prompt_metric(run.logits_end, pairs, metric=metric)
        for run in (runs.clean, runs.corrupted)
    )
    size = (clean - corrupted).abs().mean().item()

    def error(steps: int) -> float:
        how = {"method": "eap_ig_inputs", "ig_steps": steps, "ig_rule": "left"}
        scores = attribute_edges(model, pairs, metric=metric, activations=runs, **how)
        return abs(np.nansum(scores.values[0]) - (clean - corrupted).mean().item()) / size

    assert error(30) < 0.05
    assert error(30) < error(15) / 1.7


def test_batch_size_and_the_order_of_prompts_do_not_matter(trained):
    model, pairs, metric = trained
    how = {"metric": metric, "method": "eap_ig_inputs", "ig_steps": 3}
    expected = attribute_edges(model, pairs, **how).values
    mixed = np.random.default_rng(0).permutation(len(pairs))
    turned = PromptPairs(
        pairs.clean[mixed],
        pairs.corrupted[mixed],
        pairs.end[mixed],
        [pairs.correct[i] for i in mixed],
        [pairs.wrong[i] for i in mixed],
    )
    for other in (
        attribute_edges(model, pairs, limits=Limits(batch_size=5), **how),
        attribute_edges(model, turned, **how),
    ):
        np.testing.assert_allclose(other.values, expected, rtol=1e-8, atol=1e-12)
